// Small comforts of every page; each works without them.
"use strict";

for (const control of document.querySelectorAll("[data-submits]")) {
  control.addEventListener("change", () => control.form.requestSubmit());
}

for (const button of document.querySelectorAll("[data-copy]")) {
  const source = document.getElementById(button.dataset.copy);
  button.hidden = false;
  button.addEventListener("click", async () => {
    // Browsers offer the clipboard on secure pages only; on others what is selected can be copied.
    if (navigator.clipboard) await navigator.clipboard.writeText(source.textContent);
    else {
      getSelection().selectAllChildren(source);
      document.execCommand("copy");
    }
    button.textContent = button.dataset.copied;
  });
}

// Fields that matter only with certain choices: data-only="name=value,value" or "name!=value,value".
for (const part of document.querySelectorAll("[data-only]")) {
  const [, name, not, values] = part.dataset.only.match(/^(\w+)(!?)=(.*)$/);
  const form = part.closest("form");
  const show = () => (part.hidden = values.split(",").includes(form.elements[name].value) === Boolean(not));
  form.addEventListener("change", show);
  show();
}

// The derated current follows the protection, less 20 %, until somebody types another one.
for (const field of document.querySelectorAll("[data-derives]")) {
  const source = field.form.elements[field.dataset.derives];
  const derived = () =>
    source.value
      .split("/")
      .map((part) => (part.trim() ? String(Math.round(Number(part.replace(",", ".")) * 800) / 1000) : ""))
      .join(" / ");
  const same = () => field.value.replaceAll(",", ".").replaceAll(" ", "") === derived().replaceAll(" ", "");
  let follows = same();
  field.addEventListener("input", () => (follows = false));
  source.addEventListener("input", () => {
    if (follows && !derived().includes("NaN")) {
      field.value = source.value.includes(",") ? derived().replaceAll(".", ",") : derived();
    }
  });
}

// What was typed is kept until it is saved: leaving a page by accident loses nothing. Passwords are not kept.
const KEPT = "llm-draft:";
for (const form of document.querySelectorAll("form[data-keep]")) {
  const key = KEPT + form.getAttribute("action");
  const kinds = ["password", "hidden", "file"];
  const secret = /^(password|secret|key)/;
  const fields = () =>
    [...form.elements].filter((field) => field.name && !kinds.includes(field.type) && !secret.test(field.name));
  const valueOf = (field) => (["radio", "checkbox"].includes(field.type) ? field.checked : field.value);
  const idOf = (field) => field.name + (field.type === "radio" ? "=" + field.value : "");
  const initial = new Map(fields().map((field) => [idOf(field), valueOf(field)]));
  const draft = JSON.parse(sessionStorage.getItem(key) ?? "{}");
  const notice = document.getElementById("draft-notice")?.content.firstElementChild.cloneNode(true);
  let restored = false;
  for (const field of fields()) {
    const kept = draft[idOf(field)];
    if (kept === undefined || kept === valueOf(field)) continue;
    if (typeof kept === "boolean") field.checked = kept;
    else field.value = kept;
    restored = true;
  }
  if (restored && notice) {
    form.prepend(notice);
    notice.querySelector("button").addEventListener("click", () => {
      sessionStorage.removeItem(key);
      location.reload();
    });
    form.dispatchEvent(new Event("change"));
  }
  form.addEventListener("input", () => {
    const changed = fields().filter((field) => valueOf(field) !== initial.get(idOf(field)));
    sessionStorage.setItem(key, JSON.stringify(Object.fromEntries(changed.map((field) => [idOf(field), valueOf(field)]))));
  });
  form.addEventListener("submit", (event) => {
    const tries = event.submitter?.hasAttribute("formaction") || event.submitter?.value === "try";
    if (!tries) sessionStorage.removeItem(key); // what is only tried is not saved yet
  });
}

// A new controller guesses the time zone of the phone in front of it.
for (const select of document.querySelectorAll("[data-guess=zone]")) {
  const country = select.form.elements.country;
  const zone = Intl.DateTimeFormat().resolvedOptions().timeZone;
  if (country && !country.value && [...select.options].some((option) => option.value === zone)) select.value = zone;
}

// Open menus close when something else is clicked, or with Escape.
for (const details of document.querySelectorAll("details.user, details.menu-button")) {
  document.addEventListener("click", (event) => {
    if (!details.contains(event.target)) details.open = false;
  });
  details.addEventListener("keydown", (event) => {
    if (event.key === "Escape") details.open = false;
  });
}

// A controller that starts anew is asked until it answers again; then on to its sign-in page.
for (const waiting of document.querySelectorAll("[data-awaits]")) {
  const ask = async () => {
    const answer = await fetch("/healthz").catch(() => null);
    if (answer?.ok) location.href = waiting.dataset.awaits;
    else setTimeout(ask, 1000);
  };
  setTimeout(ask, 4000); // the one that answered is still there for a moment
}
