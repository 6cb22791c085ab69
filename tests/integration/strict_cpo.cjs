// A central system on ocpp-rpc in strict mode: every message in either direction is held to the schemas of OCPP 1.6.
// Tells on stdout, a line of JSON each, what it hears and what breaks a schema; does what it is told on stdin.
const { RPCServer } = require("ocpp-rpc");
const readline = require("node:readline");

const tell = (message) => process.stdout.write(JSON.stringify(message) + "\n");
const now = () => new Date().toISOString();
const server = new RPCServer({ protocols: ["ocpp1.6"], strictMode: true });
let client = null;
let transaction = 7000;

server.auth((accept) => accept());
server.on("client", (joined) => {
  client = joined;
  joined.on("strictValidationFailure", (event) => tell({ broken: String(event.error) }));
  const heard = (method, answer) =>
    joined.handle(method, ({ params }) => {
      tell({ heard: method, params });
      return answer(params);
    });
  const info = { idTagInfo: { status: "Accepted" } };
  heard("BootNotification", () => ({ status: "Accepted", interval: 300, currentTime: now() }));
  heard("Heartbeat", () => ({ currentTime: now() }));
  heard("StatusNotification", () => ({}));
  heard("Authorize", () => info);
  heard("StartTransaction", () => ({ transactionId: (transaction += 1), ...info }));
  heard("StopTransaction", () => ({}));
  heard("MeterValues", () => ({}));
});
readline.createInterface({ input: process.stdin }).on("line", async (line) => {
  const { call, params } = JSON.parse(line);
  try {
    tell({ called: call, result: await client.call(call, params) });
  } catch (error) {
    tell({ called: call, error: String(error) });
  }
});
server.listen(0, "127.0.0.1").then((http) => tell({ port: http.address().port }));
