// The script of every page: a slider over photos, a slider through time, and the values under the pointer of a chart.
// It only rearranges what the page shows without it.
"use strict";

const make = (name, properties = {}, ...children) => {
  const made = Object.assign(document.createElement(name), properties);
  made.append(...children);
  return made;
};
const clamp = (value, least, most) => Math.min(Math.max(value, least), most);

// What a figure of the page shows: its picture, its label and what is said below it.
const versionsOf = (place) => [...place.querySelectorAll(":scope > figure")].map((figure) => ({
  image: figure.querySelector("img"), label: figure.dataset.label, below: figure.dataset.below,
}));

function buildViewer(viewer) {
  const photos = [...viewer.querySelectorAll(".photo")].map((photo) => ({
    name: photo.dataset.name, top: photo.dataset.top, left: photo.dataset.left, element: photo,
    note: [...photo.querySelector(":scope > .note")?.childNodes ?? []], versions: versionsOf(photo.querySelector(".versions")),
  }));
  if (!photos.length || photos[0].versions.length < 2) return;
  photos.forEach((photo) => { photo.element.hidden = true; });

  const before = make("img", { alt: "", draggable: false });
  const after = make("img", { alt: "", draggable: false, className: "over" });
  const line = make("span", { className: "at" });
  const range = make("input", { type: "range", min: 0, max: 100, step: 0.5, value: 50 });
  const tags = ["before", "after"].map((side) => make("span", { className: `tag ${side}` }));
  const frame = make("button", { type: "button", className: "frame" });
  frame.setAttribute("aria-label", "the detail: drag it, or move it with the arrow keys");
  const stage = make("div", { className: "stage" }, before, after, line, range, ...tags, frame);
  const details = make("div", { className: "details" });
  const selects = ["left", "right"].map((side) => make("select", { name: side }));
  const size = make("input", { type: "range", min: 16, max: 128, step: 1, value: 64, className: "size" });
  const name = make("h3");
  const note = make("div", { className: "note" });
  const choices = make("div", { className: "photos" });
  const controls = make("div", { className: "controls" },
    make("label", {}, "left", selects[0]), make("label", {}, "right", selects[1]), make("label", {}, "detail", size));
  viewer.prepend(choices, controls, name, make("div", { className: "bench" }, stage, make("div", {}, details, note)));

  let photo, side, top, left; // of the detail, in pixels of the photo
  const version = (label) => photo.versions.find((each) => each.label === label) ?? photo.versions[0];

  function slide() {
    after.style.clipPath = `inset(0 0 0 ${range.value}%)`;
    line.style.left = `${range.value}%`;
    range.setAttribute("aria-valuetext", `${Math.round(range.value)} % ${selects[0].value}, then ${selects[1].value}`);
  }

  function showPair() {
    const pair = selects.map((select) => version(select.value));
    [before, after].forEach((image, i) => { image.src = pair[i].image.src; image.alt = `${photo.name}: ${pair[i].label}`; });
    tags.forEach((tag, i) => { tag.textContent = pair[i].label; });
    range.setAttribute("aria-label", `${photo.name}: ${pair[0].label} on the left, ${pair[1].label} on the right`);
    slide();
  }

  function fit() { // whole screen pixels for each of the photo's, so that none is drawn larger than another
    const { width, height } = photo.versions[0].image, screen = window.devicePixelRatio || 1;
    const room = viewer.clientWidth, beside = window.matchMedia("(min-width: 62rem)").matches;
    const most = Math.min(beside ? room - 340 : room, 768);
    const times = Math.max(Math.floor(most * screen / width), 1) / screen;
    const shown = Math.min(width * times, room);
    stage.classList.toggle("smaller", shown < width);
    stage.style.width = `${shown}px`;
    stage.style.height = `${shown * height / width}px`;
    zoom();
  }

  function zoom() {
    const { width, height } = photo.versions[0].image, times = stage.clientWidth / width;
    side = Math.min(Number(size.value), width, height);
    size.setAttribute("aria-valuetext", `${side} pixels`);
    top = clamp(top, 0, height - side);
    left = clamp(left, 0, width - side);
    Object.assign(frame.style, {
      top: `${top * times}px`, left: `${left * times}px`, width: `${side * times}px`, height: `${side * times}px`,
    });
    for (const box of details.querySelectorAll(".detail")) {
      const image = box.firstChild, scale = box.clientWidth / side;
      Object.assign(image.style, {
        width: `${width * scale}px`, top: `${-top * scale}px`, left: `${-left * scale}px`,
      });
    }
  }

  function showPhoto(next) {
    const labels = selects.map((select) => select.value);
    photo = next;
    name.textContent = photo.name;
    note.replaceChildren(...photo.note);
    note.hidden = !photo.note.length;
    selects.forEach((select, i) => {
      select.replaceChildren(...photo.versions.map(({ label }) => make("option", { value: label }, label)));
      const wanted = labels[i] || (i ? viewer.dataset.after : viewer.dataset.before);
      select.value = version(wanted).label;
    });
    details.replaceChildren(...photo.versions.map(({ image, label, below }) => make("figure", {},
      make("div", { className: "detail" }, make("img", { src: image.src, alt: `${photo.name}, detail: ${label}`, draggable: false })),
      make("figcaption", {}, make("b", {}, label), below ? ` ${below}` : ""))));
    const { width, height } = photo.versions[0].image;
    top = Number(photo.top ?? (height - size.value) / 2);
    left = Number(photo.left ?? (width - size.value) / 2);
    [...choices.children].forEach((button, i) => button.setAttribute("aria-pressed", photos[i] === photo));
    showPair();
    fit();
  }

  if (photos.length > 1) {
    choices.append(...photos.map((each) => {
      const button = make("button", { type: "button", title: each.name }, make("img", { src: each.versions.at(-1).image.src, alt: "" }));
      button.setAttribute("aria-label", each.name);
      button.addEventListener("click", () => showPhoto(each));
      return button;
    }));
  }
  range.addEventListener("input", slide);
  // The range has the keys alone: under a pointer, its own thumb would be off by its width, and move when a finger scrolls.
  const point = (event) => {
    const box = stage.getBoundingClientRect();
    range.value = clamp(100 * (event.clientX - box.left) / box.width, 0, 100);
    slide();
  };
  let grip, sliding; // where the pointer went down; whether it moves the line: a finger may be about to scroll instead
  stage.addEventListener("pointerdown", (event) => {
    if (event.target === frame) return;
    event.preventDefault();
    range.focus({ preventScroll: true });
    stage.setPointerCapture(event.pointerId);
    grip = event;
    sliding = event.pointerType === "mouse";
    if (sliding) point(event);
  });
  stage.addEventListener("pointermove", (event) => {
    if (!stage.hasPointerCapture(event.pointerId)) return;
    sliding ||= Math.abs(event.clientX - grip.clientX) > Math.abs(event.clientY - grip.clientY);
    if (sliding) point(event);
  });
  stage.addEventListener("pointerup", (event) => { if (stage.hasPointerCapture(event.pointerId)) point(event); });
  selects.forEach((select) => select.addEventListener("change", showPair));
  size.addEventListener("input", () => {
    const before = side;
    side = Number(size.value);
    top += (before - side) / 2;
    left += (before - side) / 2;
    zoom();
  });
  frame.addEventListener("pointerdown", (event) => {
    frame.setPointerCapture(event.pointerId);
    frame.grip = { x: event.clientX, y: event.clientY, top, left };
  });
  frame.addEventListener("pointermove", (event) => {
    if (!frame.hasPointerCapture(event.pointerId)) return;
    const times = stage.clientWidth / photo.versions[0].image.width, grip = frame.grip;
    top = Math.round(grip.top + (event.clientY - grip.y) / times);
    left = Math.round(grip.left + (event.clientX - grip.x) / times);
    zoom();
  });
  frame.addEventListener("keydown", (event) => {
    const step = event.shiftKey ? 16 : 2;
    const moves = { ArrowUp: [-step, 0], ArrowDown: [step, 0], ArrowLeft: [0, -step], ArrowRight: [0, step] };
    if (!moves[event.key]) return;
    event.preventDefault();
    top += moves[event.key][0];
    left += moves[event.key][1];
    zoom();
  });
  showPhoto(photos[0]);
  new ResizeObserver(fit).observe(viewer);
}

function buildTime(place) {
  const moments = versionsOf(place.querySelector(".moments"));
  if (moments.length < 2) return;
  const image = make("img", { className: "now" });
  const caption = make("figcaption");
  const range = make("input", { type: "range", min: 0, max: moments.length - 1, step: 1, value: moments.length - 1 });
  range.setAttribute("aria-label", "when");
  const output = make("output");
  const figures = place.querySelectorAll(".fixed > figure");
  const now = make("figure", {}, image, caption);
  if (figures.length) figures[0].after(now); else place.prepend(now);
  place.append(make("div", { className: "when" }, range, output));
  const show = () => {
    const { image: { src, alt, width, height }, label, below } = moments[range.value];
    Object.assign(image, { src, alt, width, height });
    caption.replaceChildren(make("b", {}, label), below ? ` ${below}` : "");
    output.textContent = `${Number(range.value) + 1} of ${moments.length}`;
    range.setAttribute("aria-valuetext", label);
  };
  range.addEventListener("input", show);
  show();
}

function buildChart(chart) {
  const { left, right, x0, x1, x: xName, curves, marks } = JSON.parse(chart.dataset.chart);
  const svg = chart.querySelector("svg"), reading = chart.querySelector(".reading");
  const steps = [...new Set(Object.values(curves).flatMap((points) => points.map(([x]) => x)))].sort((a, b) => a - b);
  const cursor = document.createElementNS("http://www.w3.org/2000/svg", "line");
  const { height } = svg.viewBox.baseVal;
  for (const [key, value] of Object.entries({ class: "cursor", y1: 10, y2: height - 30, visibility: "hidden" })) cursor.setAttribute(key, value);
  svg.append(cursor);
  svg.setAttribute("tabindex", 0);
  let at = steps.length - 1;

  function read(index) {
    at = clamp(index, 0, steps.length - 1);
    const x = steps[at], where = left + (x - x0) / (x1 - x0) * (right - left);
    cursor.setAttribute("x1", where);
    cursor.setAttribute("x2", where);
    cursor.setAttribute("visibility", "visible");
    const values = Object.entries(curves).map(([name, points]) => { // the last value up to here
      const last = points.findLast(([each]) => each <= x);
      return last && `${name} ${last[1]}`;
    });
    const wrong = [...new Set(marks.filter(([first, last]) => first <= x && x <= last).map((each) => each[2]))];
    reading.textContent = [`${xName} ${x}`, ...values, ...wrong].filter(Boolean).join(" · ");
  }
  function forget() {
    cursor.setAttribute("visibility", "hidden");
    reading.textContent = "";
  }
  svg.addEventListener("pointermove", (event) => {
    const box = svg.getBoundingClientRect();
    const x = x0 + ((event.clientX - box.left) * svg.viewBox.baseVal.width / box.width - left) / (right - left) * (x1 - x0);
    let nearest = 0;
    steps.forEach((each, i) => { if (Math.abs(each - x) < Math.abs(steps[nearest] - x)) nearest = i; });
    read(nearest);
  });
  svg.addEventListener("pointerleave", forget);
  svg.addEventListener("blur", forget);
  svg.addEventListener("focus", () => read(at));
  svg.addEventListener("keydown", (event) => {
    const jump = event.shiftKey ? 10 : 1;
    const to = { ArrowLeft: at - jump, ArrowRight: at + jump, Home: 0, End: steps.length - 1 }[event.key];
    if (to === undefined) return;
    event.preventDefault();
    read(to);
  });
}

document.documentElement.classList.add("js");
document.querySelectorAll(".viewer").forEach(buildViewer);
document.querySelectorAll(".time").forEach(buildTime);
document.querySelectorAll(".chart").forEach(buildChart);
