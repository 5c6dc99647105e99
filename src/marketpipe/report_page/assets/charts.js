// Charts by plotly. Its script is inside the file, and is unpacked when the first chart is opened.

const drawn = new Set(); // plotly keeps each chart, and listens for it, until it is purged
let libraryLoading = null;

async function library() {
  const run = async () => {
    const script = document.createElement("script");
    script.textContent = new TextDecoder().decode(await inflated(document.getElementById("library").textContent));
    document.head.append(script); // the policy of the page allows a script of exactly this text
    script.remove();
    return window.Plotly;
  };
  libraryLoading ??= run();
  return libraryLoading;
}

// plotly reads a few tags in texts: they are shown as they are.
const plain = (text) => String(text).replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;");

function layoutOf(more) {
  const [ink, paper, line] = ["ink", "paper", "line"].map(colourOf);
  const axis = { gridcolor: line, linecolor: line, zerolinecolor: line, automargin: true };
  const { xaxis, yaxis, yaxis2, ...rest } = more;
  return {
    paper_bgcolor: paper, plot_bgcolor: paper, font: { color: ink, family: "inherit", size: 12 },
    margin: { l: 60, r: 20, t: 10, b: 40 }, hovermode: "x unified", dragmode: "pan", showlegend: false,
    hoverlabel: { bgcolor: paper, bordercolor: line, font: { color: ink } },
    xaxis: { ...axis, ...xaxis }, yaxis: { ...axis, ...yaxis }, ...(yaxis2 && { yaxis2: { ...axis, ...yaxis2 } }), ...rest,
  };
}

// Draws into an element, and again whenever the colours change. ``text`` is what a screen reader says of it.
async function chart(place, text, traces, layout) {
  place.classList.add("chart");
  place.setAttribute("role", "group"); // no image: its buttons can be reached
  place.setAttribute("aria-label", text);
  const plotly = await library();
  if (!place.isConnected) return;
  const options = { displaylogo: false, responsive: true, scrollZoom: true, modeBarButtonsToRemove: ["lasso2d", "select2d"] };
  const draw = () => plotly.react(place, traces(), layoutOf(layout()), options);
  place.redraw = draw;
  for (const former of drawn) if (!former.isConnected && drawn.delete(former)) plotly.purge(former);
  drawn.add(place);
  await draw();
}

function redrawCharts() {
  for (const place of document.querySelectorAll(".chart")) if (place.redraw && place.offsetParent) place.redraw();
}
