"use strict";

const PERIOD_MS = 2000;
const SHOWN_MAX = 5000;
const element = (id) => document.getElementById(id);
let token = takeToken();
let pages = 1;

// The token comes in the fragment, which is never sent to a server. It is
// taken out of the address so that it does not stay in the history.
function takeToken() {
  const given = new URLSearchParams(location.hash.slice(1)).get("token");
  if (given) {
    sessionStorage.setItem("token", given);
    history.replaceState(null, "", location.pathname);
  }
  return sessionStorage.getItem("token");
}

async function ask(path) {
  const answer = await fetch(path, { headers: { Authorization: `Bearer ${token}` }, cache: "no-store" });
  if (answer.status === 401) {
    throw new Locked();
  }
  const body = await answer.json();
  if (!answer.ok) {
    throw new Error(body.detail || body.title || `status ${answer.status}`);
  }
  return body;
}

class Locked extends Error {}

function span(seconds) {
  const units = [["d", 86400], ["h", 3600], ["min", 60], ["s", 1]];
  const [name, length] = units.find(([, length]) => seconds >= length) || ["s", 1];
  return `${Math.floor(seconds / length)} ${name}`;
}

// By a probe or by the monitor, whichever is sooner.
function foundWithin(heartbeat) {
  const limits = [heartbeat.worst_case_ms, heartbeat.monitor_worst_case_ms].filter((limit) => limit !== null);
  return limits.length === 0 ? "off" : `${Math.min(...limits) / 1000} s`;
}

function show(status) {
  const figures = [
    ["Clients", status.clients],
    ["Persistent connections", status.persistent_connections.open],
    ["Grants", status.persistent_connections.granted],
    ["Connections", status.connections],
    ["Notifications alive", status.notifications.alive],
    ["Notifications sent", Object.values(status.notifications.sent).reduce((sum, count) => sum + count, 0)],
    ["Replies", status.notifications.replies],
    ["A dead client is found within", foundWithin(status.heartbeat)],
    ["Ended for silence", status.heartbeat.ended.response_timeout + status.heartbeat.ended.heartbeat],
    ["Up for", span(status.uptime_s)],
    ["Version", status.version],
  ];
  element("status").replaceChildren(...figures.map(([name, value]) => {
    const [box, term, data] = ["div", "dt", "dd"].map((tag) => document.createElement(tag));
    term.textContent = name;
    data.textContent = value;
    box.append(term, data);
    return box;
  }));
  say(status.state === "serving" ? "Serving." : "Shutting down.", status.state !== "serving");
}

function fill(table, texts) {
  element(table).tBodies[0].replaceChildren(...texts.map((cells) => {
    const row = document.createElement("tr");
    cells.forEach((text) => { row.insertCell().textContent = text; });
    return row;
  }));
}

function list(clients, next) {
  fill("clients", clients.map((client) => [
    client.hostname, client.address, client.subnet, client.way, `${span(client.registered_s_ago)} ago`, client.client,
  ]));
  element("clients").hidden = clients.length === 0;
  element("none").hidden = clients.length > 0;
  element("more").hidden = next === null || clients.length >= SHOWN_MAX;
}

async function clientsShown() {
  const clients = [];
  let next = "";
  for (let page = 0; page < pages && next !== null; page += 1) {
    const answer = await ask(`/v1/clients${next && `?after=${encodeURIComponent(next)}`}`);
    clients.push(...answer.clients);
    next = answer.next;
  }
  return [clients, next];
}

function listSubnets(subnets) {
  fill("subnets", subnets.map((each) => [each.subnet, each.clients, each.connected, each.granted]));
}

function say(text, wrong) {
  element("state").textContent = text;
  element("state").classList.toggle("wrong", wrong);
}

function lock(locked) {
  element("locked").hidden = !locked;
  element("figures").hidden = locked;
  element("list").hidden = locked;
  element("networks").hidden = locked;
}

async function refresh() {
  try {
    if (!token) {
      throw new Locked();
    }
    const status = await ask("/v1/status");
    const [clients, next] = await clientsShown();
    const { subnets } = await ask("/v1/subnets");
    lock(false);
    show(status);
    listSubnets(subnets);
    list(clients, next);
  } catch (error) {
    if (error instanceof Locked) {
      lock(true);
      say(token ? "The token is not the relay's." : "Locked.", Boolean(token));
      return;
    }
    say(`The relay does not answer: ${error.message}`, true);
  }
  setTimeout(refresh, PERIOD_MS);
}

element("unlock").addEventListener("submit", (event) => {
  event.preventDefault();
  token = element("token").value.trim();
  sessionStorage.setItem("token", token);
  refresh();
});
element("more").addEventListener("click", () => { pages += 1; });
refresh();
