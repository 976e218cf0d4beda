// A click on a figure, or Enter, shows it in full size; a click, or Escape, puts it back.
document.addEventListener("DOMContentLoaded", () => {
  const dialog = document.body.appendChild(document.createElement("dialog"));
  const large = dialog.appendChild(document.createElement("img"));
  dialog.className = "zoom";
  dialog.addEventListener("click", () => dialog.close());
  document.addEventListener("keydown", (event) => event.key === "Escape" && dialog.close());
  for (const image of document.querySelectorAll("article img")) {
    const show = () => {
      large.src = image.src;
      large.alt = image.alt;
      dialog.style.width = `${Math.max(image.naturalWidth, 1200)}px`;
      dialog.showModal();
    };
    image.tabIndex = 0;
    image.addEventListener("click", (event) => (event.preventDefault(), show()));
    image.addEventListener("keydown", (event) => event.key === "Enter" && show());
  }
});
