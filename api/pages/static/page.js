// One live stream; fragments that the server drew are fetched again and put in place by id.

const body = document.body;
const offline = document.getElementById("offline");
const said = document.getElementById("said");

// A fragment says in data-on which events make it old, and in data-every after how many seconds
// it is old anyway. It is not fetched more often than every GAP_MS.
const GAP_MS = { alert: 250, action: 100, resync: 100, tick: 4500 };
const fetched = new Map();
const waiting = new Map();
const shown = new Map();

let source = null;
let lastId = body.dataset.batch; // what the page shows is as of this batch
let heardAt = performance.now();
let age = null; // { s, at }: the data was s seconds old at that moment
let wait = 1000;

function liveParts() {
  return [...document.querySelectorAll("[data-src]")];
}

function say(text) {
  said.textContent = text;
}

async function refresh(part) {
  fetched.set(part.id, performance.now());
  let answer;
  try {
    answer = await fetch(part.dataset.src, { headers: { accept: "text/html" }, cache: "no-store" });
  } catch {
    return; // the stream is down too, and says so
  }
  if (!answer.ok) {
    say(`${answer.status} ${answer.statusText}`);
    return;
  }
  replace(part, await answer.text());
}

function replace(part, html) {
  if (shown.get(part.id) === html) return;
  // a fragment in which somebody types is left alone until they are done
  const active = part.contains(document.activeElement) ? document.activeElement : null;
  if (active && active.matches("input, textarea, select")) return;
  shown.set(part.id, html);
  const focused = active ? active.id : "";
  const card = active ? active.closest("[id*='card-']") : null;
  const opened = [...part.querySelectorAll("details[open]")].map((one) => one.id);
  const next = card && card.nextElementSibling ? card.nextElementSibling.id : "";
  part.innerHTML = html;
  for (const id of opened) {
    const one = document.getElementById(id);
    if (one) one.open = true;
  }
  if (!active) return;
  const again =
    (focused && document.getElementById(focused)) ||
    linkOf(card && document.getElementById(card.id)) ||
    linkOf(next && document.getElementById(next));
  if (again) again.focus({ preventScroll: true });
}

function linkOf(card) {
  return card ? card.querySelector("a.open") : null;
}

function stale(event) {
  for (const part of liveParts()) {
    if (!part.dataset.on.split(" ").includes(event) || waiting.has(part.id)) continue;
    const since = performance.now() - (fetched.get(part.id) ?? -1e9);
    const timer = setTimeout(() => {
      waiting.delete(part.id);
      refresh(part);
    }, Math.max(0, GAP_MS[event] - since));
    waiting.set(part.id, timer);
  }
}

function refreshOld() {
  const now = performance.now();
  for (const part of liveParts()) {
    const every = Number(part.dataset.every) * 1000;
    if (now - (fetched.get(part.id) ?? heardFirst) >= every) refresh(part);
  }
}
const heardFirst = performance.now();

function showAge() {
  for (const one of document.querySelectorAll("[data-age-s]")) {
    if (age === null && one.dataset.ageS !== "") age = { s: Number(one.dataset.ageS), at: heardFirst };
    if (age === null) continue;
    const seconds = Math.round(age.s + (performance.now() - age.at) / 1000);
    one.textContent = body.dataset.age.replace("{n}", seconds);
    one.classList.toggle("old", seconds > 60);
  }
}

function showOffline() {
  const seconds = Math.round((performance.now() - heardAt) / 1000);
  offline.textContent = body.dataset.offline.replace("{n}", seconds);
}

function hear(event) {
  heardAt = performance.now();
  wait = 1000;
  if (event.lastEventId) lastId = event.lastEventId;
  offline.hidden = true;
}

function listen() {
  if (source || document.hidden) return;
  const after = encodeURIComponent(lastId);
  source = new EventSource(`${body.dataset.live}?topics=alerts,tick&after=${after}`);
  source.onopen = (event) => {
    hear(event);
    body.dataset.connected = "yes";
  };
  for (const name of ["alert", "action", "resync"]) {
    source.addEventListener(name, (event) => {
      hear(event);
      stale(name);
    });
  }
  source.addEventListener("tick", (event) => {
    hear(event);
    const told = JSON.parse(event.data);
    if (told.age_s !== null) age = { s: told.age_s, at: performance.now() };
    showAge();
    stale("tick");
  });
  source.onerror = () => {
    source.close();
    source = null;
    body.dataset.connected = "no";
    offline.hidden = false;
    showOffline();
    // many phones lose the server at once: they shall not all come back at once
    setTimeout(comeBack, wait * (0.5 + Math.random()));
    wait = Math.min(wait * 2, 30000);
  };
}

function comeBack() {
  if (source) return;
  listen();
  stale("resync");
}

document.addEventListener("visibilitychange", () => {
  if (document.hidden && source) {
    source.close();
    source = null;
  } else if (!document.hidden) {
    comeBack();
  }
});
window.addEventListener("online", comeBack);

setInterval(() => {
  if (document.hidden) return;
  showAge();
  if (!offline.hidden) showOffline();
  refreshOld();
}, 1000);

// --- what people do -------------------------------------------------------------------------

async function send(form, button) {
  const target = button && button.hasAttribute("formaction") ? button.formAction : form.action;
  if (button) button.disabled = true;
  try {
    const answer = await fetch(target, {
      method: "POST",
      body: new URLSearchParams(new FormData(form)),
      headers: { accept: "application/json" },
    });
    const told = await answer.json(); // a problem says in `detail` what was wrong
    if (!answer.ok) throw new Error(told.detail);
    say(body.dataset.done);
    return true;
  } catch (error) {
    say(body.dataset.failed.replace("{why}", error.message));
    return false;
  } finally {
    if (button) button.disabled = false;
    stale("action");
  }
}

document.addEventListener("submit", async (event) => {
  const form = event.target;
  if (!form.matches("[data-ack], [data-comment]")) return;
  event.preventDefault();
  const button = event.submitter;
  const card = button ? button.closest("[id*='card-']") : null;
  if (button && card) linkOf(card).focus({ preventScroll: true });
  const done = await send(form, button);
  if (done && form.matches("[data-comment]")) form.querySelector("textarea").value = "";
});

document.addEventListener("change", (event) => {
  const form = event.target.closest("[data-pick]");
  if (form) form.submit();
});

function cards() {
  return [...document.querySelectorAll("main .card a.open")].filter((one) => one.offsetParent);
}

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.target.matches("input, textarea, select")) return;
  const card = event.target.closest(".card");
  if (event.key === "j" || event.key === "k") {
    const all = cards();
    if (!all.length) return;
    const here = card ? all.indexOf(linkOf(card)) : -1;
    const there = event.key === "j" ? here + 1 : here < 0 ? 0 : here - 1;
    all[Math.min(Math.max(there, 0), all.length - 1)].focus();
  } else if (event.key === "a" && card) {
    const button = card.querySelector("button.ack");
    if (!button) return;
    if (button.form && !button.form.reportValidity()) return;
    button.form ? button.form.requestSubmit(button) : button.click();
  } else {
    return;
  }
  event.preventDefault();
});

showAge();
listen();
