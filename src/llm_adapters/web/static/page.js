// Small comforts of every page; each works without them.
"use strict";

for (const control of document.querySelectorAll("[data-submits]")) {
  control.addEventListener("change", () => control.form.requestSubmit());
}

for (const button of document.querySelectorAll("[data-copy]")) {
  if (!navigator.clipboard) continue; // browsers offer it on secure pages only
  button.hidden = false;
  button.addEventListener("click", async () => {
    await navigator.clipboard.writeText(document.getElementById(button.dataset.copy).textContent);
    button.textContent = button.dataset.copied;
  });
}
