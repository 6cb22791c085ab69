// Ticks the password rules while typing; the server judges them again.
"use strict";

(() => {
  const kept = {
    capital: (text) => /\p{Lu}/u.test(text),
    lower_case: (text) => /\p{Ll}/u.test(text),
    number: (text) => /\p{Nd}/u.test(text),
    length: (text) => [...text].length >= 8,
    symbol: (text) => /[^\p{L}\p{N}\s]/u.test(text),
  };
  const input = document.getElementById("password");
  input.addEventListener("input", () => {
    for (const item of document.querySelectorAll("[data-rule]")) {
      item.classList.toggle("kept", kept[item.dataset.rule](input.value));
    }
  });
})();
