// Comfort only: everything can be read, opened and linked to without it.
"use strict";
const all = (what) => [...document.querySelectorAll(what)];
const tasks = all("#tasks .entries > details");

function unfold(target) {
  for (let at = target; at; at = at.parentElement) if (at.tagName === "DETAILS") at.open = true;
}
function follow() {
  const target = location.hash.length > 1 && document.getElementById(location.hash.slice(1));
  if (target) { unfold(target); target.scrollIntoView(); }
}
addEventListener("hashchange", follow);
follow();

let shown = "";
function narrow() {
  const words = (document.getElementById("find")?.value ?? "").toLowerCase();
  for (const task of tasks) {
    const fits = task.querySelector("summary").textContent.toLowerCase().includes(words);
    task.hidden = !(fits && (!shown || task.dataset.tone === shown));
  }
}
for (const tools of all(".tools")) {
  tools.hidden = false;
  tools.addEventListener("input", narrow);
  tools.addEventListener("click", (event) => {
    const button = event.target.closest("button");
    if (button && "fold" in button.dataset) tasks.forEach((task) => { if (!task.hidden) task.open = button.dataset.fold === "open"; });
    if (button && "show" in button.dataset) {
      shown = button.dataset.show;
      all("[data-show]").forEach((other) => other.setAttribute("aria-pressed", String(other === button)));
      narrow();
    }
  });
}

for (const line of navigator.clipboard ? all(".command") : []) {
  const button = document.createElement("button");
  button.type = "button";
  button.textContent = "Copy";
  button.setAttribute("aria-label", "Copy " + line.textContent);
  button.addEventListener("click", async () => {
    await navigator.clipboard.writeText(line.querySelector("code").textContent);
    button.textContent = "Copied";
  });
  line.append(button);
}

// On paper nothing can be opened. A thousand tasks would be a book, though.
const opened = [];
addEventListener("beforeprint", () => {
  if (tasks.length > 50) return;
  for (const each of all("details:not([open])")) { each.open = true; opened.push(each); }
});
addEventListener("afterprint", () => { for (const each of opened.splice(0)) each.open = false; });
