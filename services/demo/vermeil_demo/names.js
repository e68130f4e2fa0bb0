// Names for what Gradio leaves unnamed, for those who hear the page: pictures that are examples, the list of
// examples of a chat that is no list. It looks again whenever the page has changed.
() => {
  const words = (source) => decodeURIComponent(source.split("/").pop()).replace(/\.\w+$/, "").replaceAll("-", " ");
  const name = () => {
    document.querySelectorAll(".examples[role=list]").forEach((list) => list.setAttribute("role", "group"));
    document.querySelectorAll("button.gallery-item:not([aria-label])").forEach((button) => {
      const picture = button.querySelector("img");
      if (picture) button.setAttribute("aria-label", `Example: ${words(picture.src)}`);
    });
    document.querySelectorAll("#message textarea:not([aria-label])").forEach((field) => {
      field.setAttribute("aria-label", "Message");
    });
    document.querySelectorAll("#conversation button:not([aria-label])").forEach((button) => {
      if (button.querySelector("img")) button.setAttribute("aria-label", "Picture");
    });
    // A message that has no words, such as one that was stopped at once, is named on a box without a role.
    document.querySelectorAll("#conversation div[data-testid][aria-label]:not([role])").forEach((message) => {
      message.setAttribute("role", "group");
    });
    // A button in a button: the inner one is enough, and its click reaches the outer.
    document.querySelectorAll("#conversation .thought-group > [role=button]").forEach((title) => {
      title.removeAttribute("role");
      title.removeAttribute("tabindex");
      title.querySelector("button")?.setAttribute("aria-label", "Show or hide why");
    });
    // Gradio empties it with the first message.
    document.querySelectorAll('#message textarea[placeholder=""]').forEach((field) => {
      field.placeholder = "Write, or drop a picture";
    });
  };
  name();
  let waiting = false;
  new MutationObserver(() => {
    if (waiting) return;
    waiting = true;
    setTimeout(() => { waiting = false; name(); }, 200);
  }).observe(document.body, { childList: true, subtree: true });
}
