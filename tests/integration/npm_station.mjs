// A station by the npm package ocpp-rpc, in strict mode: it refuses every message of ours that breaks its schema.
// node npm_station.mjs FOLDER URL TAG; charges until a line comes in, then prints what it was asked.
import { createRequire } from "node:module";

const [folder, url, tag] = process.argv.slice(2);
const { RPCClient } = createRequire(`${folder}/`)("ocpp-rpc");
const told = { boot: "", profiles: 0, asked: [] };
const answers = {
  GetConfiguration: () => ({ configurationKey: [{ key: "ChargeProfileMaxStackLevel", readonly: true, value: "8" }] }),
  ChangeConfiguration: () => ({ status: "Accepted" }),
  TriggerMessage: () => ({ status: "NotImplemented" }),
  SetChargingProfile: () => ((told.profiles += 1), { status: "Accepted" }),
  ClearChargingProfile: () => ({ status: "Unknown" }),
};

const station = new RPCClient({
  endpoint: url,
  identity: "CP",
  protocols: ["ocpp1.6"],
  strictMode: true,
  reconnect: false,
});
for (const [action, answer] of Object.entries(answers)) {
  station.handle(action, () => (told.asked.push(action), answer()));
}
station.on("strictValidationFailure", ({ error }) => {
  console.error(error);
  process.exit(3);
});

const now = () => new Date().toISOString();
const line = new Promise((resolve) => process.stdin.once("data", resolve));
await station.connect();
told.boot = (await station.call("BootNotification", { chargePointVendor: "Acme", chargePointModel: "Post" })).status;
await station.call("Heartbeat", {});
await station.call("StatusNotification", { connectorId: 1, errorCode: "NoError", status: "Charging" });
const start = { connectorId: 1, idTag: tag, meterStart: 1000, timestamp: now() };
const { transactionId } = await station.call("StartTransaction", start);
const value = { value: "9.0", measurand: "Current.Import", phase: "L1", unit: "A" };
await station.call("MeterValues", { connectorId: 1, transactionId, meterValue: [{ timestamp: now(), sampledValue: [value] }] });
await line;
await station.call("StopTransaction", { transactionId, meterStop: 4000, timestamp: now() });
console.log(JSON.stringify(told));
await station.close();
process.exit(0);
