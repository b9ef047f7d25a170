/* Images that go with the next message: chosen, pasted or dropped. Large ones are made smaller, as models do anyway. */

import {at, make} from "./dom.js";
import {image} from "./markdown.js";

const LARGE = 1_000_000, SIDE = 1568;
let urls = [];

export const attached = () => urls;

export function clearImages() {
  urls = [];
  draw();
}

async function add(files) {
  for (const file of files) {
    if (!/^image\/(png|jpeg|gif|webp)$/.test(file.type)) continue;
    urls.push(await read(file.size > LARGE ? await smaller(file) : file));
  }
  draw();
}

function read(blob) {
  return new Promise((done, failed) => {
    const reader = new FileReader();
    reader.onload = () => done(reader.result);
    reader.onerror = failed;
    reader.readAsDataURL(blob);
  });
}

async function smaller(file) {
  const bitmap = await createImageBitmap(file), scale = Math.min(1, SIDE / Math.max(bitmap.width, bitmap.height));
  const canvas = make("canvas", {width: Math.round(bitmap.width * scale), height: Math.round(bitmap.height * scale)});
  canvas.getContext("2d").drawImage(bitmap, 0, 0, canvas.width, canvas.height);
  return new Promise((done) => canvas.toBlob(done, "image/jpeg", 0.85));
}

function draw() {
  at("images").replaceChildren(...urls.map((url, index) => make("button", {
    type: "button", "aria-label": `Remove image ${index + 1}`, onclick: () => { urls.splice(index, 1); draw(); at("text").focus(); },
  }, image(url, ""))));
}

at("attach").addEventListener("click", () => at("file").click());
at("file").addEventListener("change", () => { add([...at("file").files]); at("file").value = ""; at("text").focus(); });
at("text").addEventListener("paste", (event) => {
  if (event.clipboardData.files.length) { event.preventDefault(); add([...event.clipboardData.files]); }
});
document.addEventListener("dragover", (event) => event.preventDefault());
document.addEventListener("drop", (event) => { event.preventDefault(); add([...event.dataTransfer.files]); });
