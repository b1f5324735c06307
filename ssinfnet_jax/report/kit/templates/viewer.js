// Slice viewers: wheel, keys and slider move through the slices of a case; the overlay is drawn on top.
let pageMoved = -Infinity;
addEventListener("scroll", () => { pageMoved = performance.now(); }, {passive: true});

for (const viewer of document.querySelectorAll(".viewer")) {
  const find = selector => viewer.querySelector(selector);
  const slices = JSON.parse(find("script").textContent);
  const screen = find(".screen"), canvas = find("canvas"), slider = find(".slider"), overlay = find(".overlay");
  const opacity = find(".opacity input");
  const windows = [...viewer.querySelectorAll(".window input")], layers = [...viewer.querySelectorAll(".shown input")];
  const scale = Math.max(1, Math.round(720 / canvas.width));
  const width = canvas.width *= scale, height = canvas.height *= scale;
  const pen = canvas.getContext("2d");
  const border = document.createElement("canvas");
  border.width = width;
  border.height = height;
  const pictures = new Map(), mostPictures = 120;  // decoded ones; a long scan has too many to keep
  let drawing = false, asked = false, stepped = -Infinity, travelled = 0;

  const load = uri => {
    const picture = new Image();
    picture.src = uri;
    return picture.decode().then(() => picture);
  };
  const picture = (kind, place) => {
    const uri = slices[kind][place], name = `${kind} ${place}`;
    if (!uri) return null;
    const found = pictures.get(name) ?? load(uri);
    pictures.delete(name);
    pictures.set(name, found);  // the last used is the last in the map
    if (pictures.size > mostPictures) pictures.delete(pictures.keys().next().value);
    return found;
  };
  const chosen = choices => choices.find(choice => choice.checked)?.value;
  const choose = (choices, place) => { choices[place % choices.length].checked = true; };
  const next = choices => choose(choices, choices.findIndex(choice => choice.checked) + 1);
  const paint = (to, from, x = 0, y = 0) => to.drawImage(from, x, y, width, height);

  // The pixels within 2 of a region but outside of it.
  const outline = region => {
    const line = border.getContext("2d");
    line.clearRect(0, 0, width, height);
    line.imageSmoothingEnabled = false;
    line.globalCompositeOperation = "source-over";
    for (const [x, y] of [[-2, 0], [2, 0], [0, -2], [0, 2]]) paint(line, region, x, y);
    line.globalCompositeOperation = "destination-out";
    paint(line, region);
    line.globalCompositeOperation = "source-in";
    line.fillStyle = getComputedStyle(viewer).getPropertyValue("--truth");
    line.fillRect(0, 0, width, height);
    return border;
  };

  const show = async place => {
    const layer = chosen(layers) ?? "classes";
    const fills = {both: ["classes", "truth"]}[layer] ?? [layer];
    const kinds = [chosen(windows) ?? "images", ...(overlay.checked ? fills : [])];
    const [image, fill, line] = await Promise.all(kinds.map(kind => picture(kind, place)));
    pen.globalAlpha = 1;
    pen.imageSmoothingEnabled = true;
    paint(pen, image);
    pen.globalAlpha = opacity.value / 100;
    pen.imageSmoothingEnabled = false;
    if (fill) paint(pen, fill);
    pen.globalAlpha = 1;
    if (line) paint(pen, outline(line));
    const first = slices.counted_from, number = `${place + first} / ${slices.images.length - 1 + first}`;
    const text = [slices.labels[place], slices.captions[place]].filter(Boolean).join(" · ");
    find(".place").textContent = slices.images.length > 1 ? number : "";
    find("output").textContent = text;
    canvas.setAttribute("aria-label", `Slice ${number}: ${text}`);
    slider.setAttribute("aria-valuetext", `${number}, ${text}`);
    viewer.dataset.drawn = place;
    for (const near of [place - 1, place + 1]) for (const kind of kinds) picture(kind, near);
  };

  // Draws what the controls ask for. While a slice is decoded, only the last request waits, so none queues up.
  const draw = async () => {
    asked = true;
    if (drawing) return;
    drawing = true;
    try {
      while (asked) {
        asked = false;
        await show(Number(slider.value));
      }
    } finally {
      drawing = false;
    }
  };

  const go = place => {
    const before = slider.value;
    slider.value = Math.min(Math.max(place, 0), slider.max);
    if (slider.value === before) return false;
    draw();
    return true;
  };

  for (const control of [slider, overlay, opacity, ...windows, ...layers]) control.addEventListener("input", draw);

  screen.addEventListener("wheel", event => {
    const now = performance.now();
    if (event.ctrlKey || now - pageMoved < 300) return;  // zooming, or scrolling the page past the picture
    const delta = event.deltaY * [1, 16, 400][event.deltaMode];
    travelled = Math.sign(delta) === Math.sign(travelled) ? travelled + delta : delta;
    if (Math.abs(travelled) < 40) return event.preventDefault();
    const moved = go(Number(slider.value) + Math.sign(travelled));
    travelled = 0;
    if (moved) stepped = now;
    if (moved || now - stepped < 400) event.preventDefault();  // at the last slice the page scrolls, after a pause
  }, {passive: false});

  const moves = {ArrowUp: -1, ArrowLeft: -1, ArrowDown: 1, ArrowRight: 1, PageUp: -10, PageDown: 10, Home: -1e9, End: 1e9};
  viewer.addEventListener("keydown", event => {
    if (event.ctrlKey || event.altKey || event.metaKey) return;
    const ownKeys = event.target === opacity || windows.includes(event.target) || layers.includes(event.target);
    if (event.key in moves && !ownKeys) {
      go(Number(slider.value) + moves[event.key]);
    } else if (event.key === "o") {
      overlay.checked = !overlay.checked;
    } else if (event.key === "w" && windows.length) {
      next(windows);
    } else if (event.key === "t" && layers.length) {
      next(layers);
    } else if (event.key === "p" && chosen(layers) === "probability") {
      choose(layers, 0);
    } else if (event.key === "p" && layers.some(layer => layer.value === "probability")) {
      layers.find(layer => layer.value === "probability").checked = true;
    } else if (event.key === "+" || event.key === "-") {
      opacity.value = Number(opacity.value) + (event.key === "+" ? 5 : -5);
    } else {
      return;
    }
    event.preventDefault();
    draw();
  });

  draw();
}
