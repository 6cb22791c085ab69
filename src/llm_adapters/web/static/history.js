// Charts of what flowed: every element with data-history is filled from its address, a chart for each data-phase.
// Colours come from the page's tokens, numbers and times from its language and the site's zone.
(() => {
  "use strict";

  const language = document.documentElement.lang || "en";
  const amps = new Intl.NumberFormat(language, { minimumFractionDigits: 1, maximumFractionDigits: 1 });
  const whole = new Intl.NumberFormat(language, { maximumFractionDigits: 1 });
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const token = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const HOUR = 3600, DAY = 24 * HOUR, LIVE_MS = 60000;
  const LENGTH = { minute: 60, quarter: 900, day: DAY };
  const SLACK = { minute: 120, quarter: 1800, day: HOUR };

  // A slice lasts until its end, and no line bridges what is missing: the last one before a hole is drawn to its end.
  function withGaps(columns, names, step) {
    const filled = { at: [] };
    names.forEach((name) => { filled[name] = []; });
    const push = (at, value) => {
      filled.at.push(at);
      names.forEach((name) => filled[name].push(value(name)));
    };
    columns.at.forEach((at, index) => {
      push(at, (name) => columns[name][index]);
      const next = columns.at[index + 1], end = at + LENGTH[step];
      if (next !== undefined && next - end <= SLACK[step]) return;
      push(end - 1, (name) => columns[name][index]);
      if (next !== undefined) push(end, () => null);
    });
    return filled;
  }

  function seriesOf(columns, phase, step) {
    const names = ["total", "cars", "limit", "peak"].map((name) => `${name}_${phase}`);
    const filled = withGaps(columns, names, step);
    const [total, cars, limit, peak] = names.map((name) => filled[name]);
    const known = total.some((value) => value !== null);
    const top = total.map((value, index) => (value === null ? cars[index] : value));
    const building = total.map((value, index) => (value === null ? null : Math.max(value - cars[index], Math.min(value, 0))));
    return { at: filled.at, top, building: known ? building : null, cars, limit, peak };
  }

  function times(zone, length) {
    const format = (options) => new Intl.DateTimeFormat(language === "en" ? "en-GB" : language, { timeZone: zone, ...options });
    const clock = format({ hour: "2-digit", minute: "2-digit" });
    const day = format({ weekday: "short", day: "numeric" });
    const month = format({ month: "short" });
    const long = format({ weekday: "short", day: "numeric", month: "short", hour: "2-digit", minute: "2-digit" });
    const date = format({ day: "numeric", month: "short" });
    const at = (seconds) => new Date(seconds * 1000);
    const axis = length <= 2 * DAY ? clock : length <= 10 * DAY ? day : length <= 62 * DAY ? date : month;
    const point = length <= 2 * DAY ? clock : length <= 62 * DAY ? long : date;
    return { axis: (seconds) => axis.format(at(seconds)), point: (seconds) => point.format(at(seconds)) };
  }

  const STEPS = [HOUR, 2 * HOUR, 3 * HOUR, 6 * HOUR, 12 * HOUR, DAY, 2 * DAY, 7 * DAY, 14 * DAY];

  // Ticks at the hours and days of the site, whatever zone the browser is in.
  function ticks(zone, from, to, room) {
    const dated = (seconds) => uPlot.tzDate(new Date(seconds * 1000), zone);
    const found = [];
    if (to - from > 62 * DAY) {
      for (let at = from; at < to; at += DAY) if (dated(at + HOUR).getDate() === 1) found.push(at);
      const every = Math.ceil(found.length / Math.max(2, Math.floor(room / 48)));
      return found.filter((_, index) => index % every === 0);
    }
    const wanted = Math.max((to - from) / Math.max(2, Math.floor(room / 64)), to - from > 2 * DAY ? DAY : HOUR);
    const step = STEPS.find((known) => known >= wanted) || STEPS[STEPS.length - 1];
    for (let at = from; at < to; at += HOUR) {
      const local = dated(at);
      if (step < DAY ? local.getHours() % (step / HOUR) === 0 : local.getHours() === 0) found.push(at);
    }
    const days = Math.max(1, step / DAY);
    return found.filter((_, index) => index % days === 0);
  }

  function options(frame, plot, data, found, from, to, isCompact, readout) {
    const zone = frame.dataset.zone, said = times(zone, to - from), ink = token("--ink-soft");
    const most = Math.max(...[data.top, data.limit, data.peak].flat().filter((value) => value !== null), 1);
    const least = Math.min(0, ...data.top.filter((value) => value !== null));
    const font = `${isCompact ? 11 : 12}px ${token("--font")}`;
    const stepped = uPlot.paths.stepped({ align: 1 });
    const axis = { stroke: ink, font, grid: { stroke: token("--line"), width: 1 }, ticks: { show: false } };
    const series = [
      {},
      { stroke: token("--charging"), fill: token("--charging"), width: 1, paths: stepped, points: { show: false } },
      { stroke: token("--building"), fill: token("--building"), width: 1, paths: stepped, points: { show: false } },
      { stroke: token("--limit"), width: 2, paths: stepped, points: { show: false } },
      { stroke: ink, width: 1, dash: [3, 3], paths: stepped, points: { show: false }, show: found.step !== "minute" },
    ];
    return {
      width: Math.max(plot.clientWidth, 200),
      height: isCompact ? 96 : 190,
      padding: [8, 4, 0, 0],
      legend: { show: false },
      cursor: { y: false, drag: { x: false, y: false }, points: { show: false } },
      tzDate: (seconds) => uPlot.tzDate(new Date(seconds * 1000), zone),
      scales: { x: { time: true, range: [from, to] }, y: { range: [least, most * 1.08] } },
      axes: [
        { ...axis, size: 28, splits: (u) => ticks(zone, from, to, u.bbox.width / devicePixelRatio), values: (_, at) => at.map(said.axis) },
        { ...axis, size: 44, space: isCompact ? 28 : 36, values: (_, values) => values.map((value) => whole.format(value)) },
      ],
      series,
      hooks: {
        setCursor: [(u) => {
          const index = u.cursor.idx;
          readout.replaceChildren();
          if (index === null || index === undefined || data.top[index] === null) return;
          if (u.posToVal(u.cursor.left, "x") > data.at[data.at.length - 1]) return;
          const parts = [[said.point(data.at[index]), ""]];
          const add = (name, value) => { if (value !== null && value !== undefined) parts.push([frame.dataset[name], amps.format(value)]); };
          if (data.building) add("textBuilding", data.building[index]);
          add("textCars", data.cars[index]);
          add("textLimit", data.limit[index]);
          if (data.building && data.building[index] !== null) add("textFree", data.limit[index] - data.building[index]);
          if (found.step !== "minute") add("textPeak", data.peak[index]);
          parts.forEach(([name, value]) => {
            const item = document.createElement("span"), number = document.createElement("b");
            number.textContent = value;
            item.append(`${name} `, number);
            readout.append(item);
          });
        }],
      },
    };
  }

  function draw(frame, found) {
    const note = frame.querySelector("[data-note]");
    const isEmpty = !found.columns.at.length;
    frame.classList.toggle("none", isEmpty);
    note.textContent = isEmpty ? frame.dataset.textEmpty : "";
    (frame.plots || []).forEach((plot) => plot.destroy());
    frame.plots = [];
    if (isEmpty) return;
    const from = Date.parse(found.from) / 1000, to = Date.parse(found.to) / 1000;
    const isCompact = "compact" in frame.dataset;
    frame.querySelectorAll("[data-phase]").forEach((plot) => {
      const data = seriesOf(found.columns, plot.dataset.phase, found.step);
      const caption = plot.parentElement.querySelector("figcaption");
      let readout = caption.querySelector(".readout");
      if (!readout) {
        readout = document.createElement("span");
        readout.className = "readout";
        caption.append(readout);
      }
      const empty = data.at.map(() => null);
      const chart = new uPlot(
        options(frame, plot, data, found, from, to, isCompact, readout),
        [data.at, data.top, data.building || empty, data.limit, data.peak],
        plot,
      );
      frame.plots.push(chart);
    });
  }

  async function load(frame) {
    try {
      const answer = await fetch(frame.dataset.history, { headers: { Accept: "application/json" } });
      if (!answer.ok) throw new Error(String(answer.status));
      frame.found = await answer.json();
      draw(frame, frame.found);
    } catch {
      if (!frame.found) frame.querySelector("[data-note]").textContent = frame.dataset.textFailed;
    }
  }

  function start(frame) {
    load(frame);
    if ("live" in frame.dataset) setInterval(() => { if (!document.hidden) load(frame); }, LIVE_MS);
    let width = frame.clientWidth;
    new ResizeObserver(() => {
      if (frame.clientWidth === width) return;
      width = frame.clientWidth;
      (frame.plots || []).forEach((plot) => plot.setSize({ width: plot.root.parentElement.clientWidth, height: plot.height }));
    }).observe(frame);
    dark.addEventListener("change", () => { if (frame.found) draw(frame, frame.found); });
  }

  document.querySelectorAll("[data-history]").forEach(start);
})();
