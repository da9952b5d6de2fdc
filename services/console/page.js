"use strict";
// Shows the console's read-only views; every value is put in as text, never as markup.
const COLUMNS = {
  positions: ["slug", "outcome", "shares", "provisional", "cost", "fees", "fair", "status"],
  orders: ["created_at", "slug", "side", "outcome", "limit_price", "shares", "filled", "state", "cause"],
  rejections: ["name", "count"],
  opportunities: ["judged_at", "slug", "verdict", "reason", "detail", "opportunity_id"],
  alerts: ["ts_event", "priority", "title", "body", "delivered"],
};
const TIMES = new Set(["created_at", "judged_at", "ts_event"]);

function text(name, value) {
  if (TIMES.has(name)) return new Date(value / 1e6).toISOString().slice(11, 19);
  return String(value);
}

function table(name, rows) {
  const place = document.getElementById(name);
  if (!rows.length) { place.textContent = "none"; return; }
  const element = document.createElement("table");
  const head = element.createTHead().insertRow();
  for (const column of COLUMNS[name]) {
    const cell = document.createElement("th");
    cell.textContent = column.replaceAll("_", " ");
    head.append(cell);
  }
  const body = element.createTBody();
  for (const row of rows) {
    const line = body.insertRow();
    for (const column of COLUMNS[name]) line.insertCell().textContent = text(column, row[column]);
  }
  place.replaceChildren(element);
}

function figures(status) {
  const shown = {
    "P&L confirmed": status.pnl.confirmed,
    "P&L provisional": status.pnl.provisional,
    "P&L disputed": status.pnl.disputed,
    "fees paid": status.pnl.fees,
    "cash": status.balances.cash,
    "settled": status.pnl.settled,
    "fills": status.fills,
    "open orders": status.open_orders,
    "scanners (needed)": `${status.scanners.alive} (${status.scanners.needed})`,
    "price to beat off, bp": Math.max(0, ...Object.values(status.scanners.members).map((m) => m.reference_error_median_bps)).toFixed(2),
    "tick to wire p50 ms": status.tick_to_wire_ms.p50.toFixed(2),
  };
  document.getElementById("figures").replaceChildren(...Object.entries(shown).map(([name, value]) => {
    const box = document.createElement("div"), strong = document.createElement("b");
    strong.textContent = String(value);
    box.append(strong, name);
    return box;
  }));
  document.getElementById("state").textContent = `${status.state.state}: ${status.state.why}`;
}

async function get(path) {
  const answer = await fetch(path);
  const body = await answer.json();
  if (!answer.ok) throw new Error(body.error || answer.statusText);
  return body;
}

async function refresh() {
  const notice = document.getElementById("notice");
  try {
    figures(await get("/status"));
    for (const name of Object.keys(COLUMNS)) table(name, await get(`/${name}?limit=15`));
    notice.textContent = `As of ${new Date().toLocaleTimeString()}. Times are UTC of the venue.`;
  } catch (error) {
    notice.textContent = `Not up to date: ${error.message}`;
  }
}

async function kill() {
  const said = document.getElementById("kill-said");
  const reason = document.getElementById("kill-reason").value, token = document.getElementById("kill-token").value;
  if (!confirm("Kill trading? Everything is cancelled, and only `pm-arb resume --reason ...` ends it.")) return;
  said.textContent = "Killing: waiting for the executor's receipt.";
  try {
    const answer = await fetch("/kill", {
      method: "POST",
      headers: { "Authorization": `Bearer ${token}`, "Content-Type": "application/json" },
      body: JSON.stringify({ reason }),
    });
    const body = await answer.json();
    said.textContent = answer.ok ? body.note : `Not killed: ${body.error || body.detail?.[0]?.msg || body.detail}`;
  } catch (error) {
    said.textContent = `No answer: ${error.message}. Use pm-arb kill.`;
  }
  refresh();
}

document.getElementById("kill").addEventListener("submit", (event) => { event.preventDefault(); kill(); });
refresh();
setInterval(refresh, 2000);
