// The chart of the page Usage, with amounts under the pointer, in the place of the one that the server has drawn. Without
// this file, or where it fails, that one stays; a table has every amount in either case.
(() => {
  "use strict";
  const canvas = document.getElementById("chart");
  if (!canvas || !window.Chart) return;
  const root = document.documentElement;
  const { labels, unit, series } = JSON.parse(canvas.dataset.chart);
  const color = (name) => getComputedStyle(root.querySelector("body")).getPropertyValue(name).trim();
  // To draw with, and for nothing else: what is told in words comes from the server.
  const axis = (value) => (unit > 1 ? `$${value.toLocaleString("en", { maximumSignificantDigits: 6 })}` : value.toLocaleString("en"));
  const options = () => ({
    animation: false,
    maintainAspectRatio: false,
    interaction: { mode: "index", intersect: false },
    scales: {
      x: { stacked: true, grid: { display: false }, border: { color: color("--line") }, ticks: { color: color("--soft"), maxRotation: 0, autoSkipPadding: 12 } },
      y: { stacked: true, beginAtZero: true, grid: { color: color("--line") }, border: { display: false }, ticks: { color: color("--soft"), callback: axis, maxTicksLimit: 6 } },
    },
    plugins: {
      legend: { display: false },
      tooltip: {
        filter: ({ raw }) => raw !== 0,
        callbacks: { label: ({ dataset, dataIndex }) => `${dataset.label}: ${series[dataset.place].texts[dataIndex]}` },
      },
    },
  });
  const datasets = () => series.map(({ label, slot, amounts }, place) => (
    { label, place, data: amounts.map((amount) => amount / unit), backgroundColor: color(`--slot-${slot}`), maxBarThickness: 48 }
  ));

  canvas.hidden = false;
  const chart = new Chart(canvas, { type: "bar", data: { labels, datasets: datasets() }, options: options() });
  canvas.parentElement.querySelector("svg").classList.add("d-none");
  new MutationObserver(() => {
    chart.data.datasets = datasets();
    chart.options = options();
    chart.update();
  }).observe(root, { attributeFilter: ["data-bs-theme"] });
})();
