// The page works without this script, which adds live updates and the keyboard.
"use strict";
const $ = (selector, root = document) => root.querySelector(selector);
const list = $("#lookups"), pill = $("#new"), filter = $("input[name=q]");
let waiting = 0, loading = false, again = false;

// HTML from the server is inserted as it is: the server has escaped all text in it.
async function fragment(url) {
  const answer = await fetch(url, { headers: { "X-Fragment": "1" } });
  if (!answer.ok) throw new Error(answer.status);
  const holder = document.createElement("template");
  holder.innerHTML = await answer.text();
  return holder.content;
}

// Live updates: the server announces new lookups; they are shown at once, or counted while the user reads.
const reading = () => scrollY > 60 || $("tr.detail") || document.hidden;
async function refresh() {
  again = true;
  if (loading) return;
  loading = true;
  while (again) try {
    again = false;
    const chosen = $("tr[aria-selected=true]")?.dataset.key;
    const fresh = await fragment(location.pathname + location.search);
    list.replaceChildren(...fresh.childNodes);
    waiting = 0;
    pill.hidden = true;
    if (chosen) select($(`tr[data-key="${chosen}"]`), false);
  } catch { /* the next event tries again */ }
  loading = false;
}
if (list && list.dataset.newest) pill.addEventListener("click", () => { scrollTo(0, 0); closeAll(); refresh(); });

const query = new URLSearchParams(list ? location.search : "");
if (list?.dataset.newest) query.set("after", list.dataset.newest);
// A browser opens at most six connections to a server: hidden pages give theirs up.
let events;
function listen() {
  events?.close();
  if (document.hidden) return;
  events = new EventSource("/events?" + query);
  events.addEventListener("lookups", announce);
  events.addEventListener("pulse", pulse);
  // The server has no room, or the page is shut out: a browser would not ask again by itself.
  events.addEventListener("error", () => { if (events.readyState === EventSource.CLOSED) setTimeout(listen, 10000); });
}
document.addEventListener("visibilitychange", () => { listen(); if (!document.hidden && list?.dataset.newest && !reading()) refresh(); });
function announce(event) {
  if (!list || !list.dataset.newest) return;
  waiting += Number(event.data);
  query.set("after", event.lastEventId);
  if (!reading()) return refresh();
  pill.textContent = waiting + " new";
  pill.hidden = false;
}
function pulse(event) {
  const holder = document.createElement("template");
  holder.innerHTML = event.data;
  $("#pulse").replaceChildren(...holder.content.childNodes);
}
listen();

// Rows
const rows = () => [...document.querySelectorAll("tr.row")];
function select(row, scroll = true) {
  for (const other of rows()) other.removeAttribute("aria-selected");
  if (!row) return;
  row.setAttribute("aria-selected", "true");
  if (scroll) row.scrollIntoView({ block: "nearest" });
}
function closeAll() { for (const detail of document.querySelectorAll("tr.detail")) detail.remove(); }
async function toggle(row) {
  if (!row) return;
  select(row);
  const open = row.nextElementSibling?.classList.contains("detail");
  closeAll();
  if (open) return;
  const detail = document.createElement("tr"), cell = document.createElement("td");
  detail.className = "detail";
  cell.colSpan = row.cells.length;
  cell.append(await fragment(row.dataset.href));
  detail.append(cell);
  row.after(detail);
}
document.addEventListener("click", (event) => {
  const rule = event.target.closest(".rule");
  if (rule) {
    navigator.clipboard?.writeText(rule.textContent);
    rule.classList.add("copied");
    setTimeout(() => rule.classList.remove("copied"), 1200);
    return;
  }
  const row = event.target.closest("tr.row");
  if (row && row.dataset.href && !event.target.closest("a, button, input, form")) toggle(row);
});

// Keys: / filters, j and k move, Enter opens, Escape closes.
document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const typing = event.target.closest("input, select, textarea");
  if (event.key === "Escape") {
    if (typing) typing.blur(); else closeAll();
    if (waiting && !reading()) refresh();
    return;
  }
  if (typing) return;
  const all = rows(), at = all.findIndex((row) => row.getAttribute("aria-selected"));
  if (event.key === "/" && filter) { event.preventDefault(); filter.focus(); filter.select(); }
  else if (event.key === "j") select(all[Math.min(at + 1, all.length - 1)]);
  else if (event.key === "k") select(all[Math.max(at - 1, 0)]);
  else if (event.key === "Enter" && at >= 0 && !event.target.closest("a, button")) toggle(all[at]);
});

// Completion of the word being typed.
const words = $("#words");
filter?.addEventListener("input", async () => {
  const before = filter.value.replace(/\S*$/, ""), word = filter.value.slice(before.length);
  if (!words || !word) return;
  const found = await (await fetch("/complete?q=" + encodeURIComponent(word))).json().catch(() => []);
  words.replaceChildren(...found.map((text) => { const option = document.createElement("option"); option.value = before + text; return option; }));
});
