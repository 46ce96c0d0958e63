//! A drawing of what `zeroq sensitivity` found: one SVG file that needs nothing else.

use std::fmt::Write;

use super::sensitivity::title;
use crate::evaluation::Profile;

const WIDTH: f64 = 960.0;
const TOP: f64 = 50.0;
const HEIGHT: f64 = 300.0;
const LEFT: f64 = 60.0;
/// Room below a chart for its axis.
const FOOT: f64 = 60.0;
/// Room below the first chart for the names of layers.
const NAMES: f64 = 190.0;
const COLORS: [&str; 3] = ["#c0392b", "#2471a3", "#1e8449"];

/// A chart's place, and what its axes span.
struct Chart {
    top: f64,
    x: (f64, f64),
    y: (f64, f64),
}

impl Chart {
    fn place(&self, x: f64, y: f64) -> (f64, f64) {
        let part = |value: f64, (low, high): (f64, f64)| (value - low) / (high - low).max(1e-9);
        (LEFT + part(x, self.x) * (WIDTH - LEFT - 30.0), self.top + (1.0 - part(y, self.y)) * HEIGHT)
    }

    fn frame(&self, svg: &mut String, heading: &str) {
        let _ = writeln!(svg, "<text x=\"{LEFT}\" y=\"{:.1}\" font-size=\"15\">{heading}</text>", self.top - 18.0);
        for tick in ticks(self.y) {
            let (x, y) = self.place(self.x.0, tick);
            let right = WIDTH - 30.0;
            let _ = writeln!(svg, "<line x1=\"{x:.1}\" y1=\"{y:.1}\" x2=\"{right}\" y2=\"{y:.1}\" stroke=\"#ddd\"/>");
            let _ = writeln!(svg, "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{tick} dB</text>", x - 6.0, y + 4.0);
        }
    }

    fn curve(&self, svg: &mut String, points: &[(f64, f64)], color: &str) {
        let places: Vec<(f64, f64)> = points.iter().map(|(x, y)| self.place(*x, *y)).collect();
        let path = places.iter().map(|(x, y)| format!("{x:.1},{y:.1}")).collect::<Vec<_>>().join(" ");
        let _ = writeln!(svg, "<polyline points=\"{path}\" fill=\"none\" stroke=\"{color}\" stroke-width=\"1.5\"/>");
        for (x, y) in places {
            let _ = writeln!(svg, "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3\" fill=\"{color}\"/>");
        }
    }
}

/// Round numbers within a range of decibels or bits.
fn ticks((low, high): (f64, f64)) -> Vec<f64> {
    let step = [1.0, 2.0, 4.0, 5.0, 10.0, 20.0, 50.0].into_iter().find(|step| (high - low) / step <= 9.0).unwrap_or(100.0);
    let first = (low / step).ceil() as i64;
    (first..).map(|index| index as f64 * step).take_while(|tick| *tick <= high).collect()
}

/// The range of all values, a little wider.
fn range(values: impl Iterator<Item = f64>) -> (f64, f64) {
    let (low, high) = values.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| (low.min(value), high.max(value)));
    if low > high { (0.0, 1.0) } else { (low - 1.0, high + 1.0) }
}

/// Two charts: each layer alone at each width, and the frontier of all layers together.
pub fn plot(profile: &Profile) -> String {
    let total = TOP + HEIGHT + NAMES + TOP + HEIGHT + FOOT;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {total}\" font-family=\"sans-serif\" font-size=\"12\">\n\
         <title>SQNR by layer and width, and by bits per weight</title>\n\
         <rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n"
    );
    draw_layers(&mut svg, profile);
    draw_frontier(&mut svg, profile);
    svg + "</svg>\n"
}

fn draw_layers(svg: &mut String, profile: &Profile) {
    let integers = || profile.layers.iter().flat_map(|layer| layer.widths.iter().take(COLORS.len()));
    let last = profile.layers.len().saturating_sub(1).max(1) as f64;
    let chart = Chart { top: TOP, x: (0.0, last), y: range(integers().map(|width| width.sqnr_db)) };
    chart.frame(svg, "SQNR of the outputs with one layer quantized");
    for (index, color) in COLORS.iter().enumerate() {
        let widths = profile.layers.iter().enumerate().filter_map(|(place, layer)| Some((place as f64, layer.widths.get(index)?.sqnr_db)));
        chart.curve(svg, &widths.collect::<Vec<_>>(), color);
        let name = profile.layers.first().and_then(|layer| layer.widths.get(index)).map_or("", |width| width.width);
        let x = WIDTH - 230.0 + 70.0 * index as f64;
        let _ = writeln!(svg, "<text x=\"{x}\" y=\"{:.1}\" fill=\"{color}\">{name} bits</text>", TOP - 18.0);
    }
    for (place, layer) in profile.layers.iter().enumerate() {
        let (x, y) = chart.place(place as f64, chart.y.0);
        let (x, y) = (x + 4.0, y + 12.0);
        let _ = writeln!(
            svg,
            "<text x=\"{x:.1}\" y=\"{y:.1}\" font-size=\"9\" text-anchor=\"end\" transform=\"rotate(-60 {x:.1} {y:.1})\">{}</text>",
            markup(&shortened(&title(layer)))
        );
    }
}

fn draw_frontier(svg: &mut String, profile: &Profile) {
    let points: Vec<(f64, f64)> = profile.frontier.iter().map(|point| (point.average_bits, point.sqnr_db)).collect();
    // The float network has no noise: its point would flatten all others.
    let points: Vec<(f64, f64)> = points.into_iter().filter(|(_, sqnr)| *sqnr < 100.0).collect();
    let chart = Chart {
        top: TOP + HEIGHT + NAMES + TOP,
        x: range(points.iter().map(|point| point.0)),
        y: range(points.iter().map(|point| point.1)),
    };
    chart.frame(svg, "Best of all layers together: predicted SQNR by bits per weight");
    chart.curve(svg, &points, COLORS[1]);
    for tick in ticks(chart.x) {
        let (x, y) = chart.place(tick, chart.y.0);
        let _ = writeln!(svg, "<text x=\"{x:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{tick}</text>", y + 18.0);
    }
}

/// Characters of a name that are drawn.
const LONGEST: usize = 32;

fn shortened(name: &str) -> String {
    let count = name.chars().count();
    if count <= LONGEST { name.to_string() } else { format!("…{}", name.chars().skip(count - LONGEST + 1).collect::<String>()) }
}

/// `text` without characters that mean something in XML.
fn markup(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evaluation::{FrontierPoint, LayerProfile, WidthProfile};

    #[test]
    fn names_cannot_steer_the_drawing() {
        let width = |width, sqnr_db| WidthProfile { width, weight_bytes: 1, noise: 0.1, sqnr_db };
        let layer = |name: &str| LayerProfile {
            nodes: vec![name.to_string()],
            operator: "Conv".into(),
            weights: 8,
            widths: vec![width("4", 10.0), width("8", 30.0), width("16", 60.0), width("float", 120.0)],
        };
        let point = |average_bits, sqnr_db| FrontierPoint { weight_bytes: 4, average_bits, sqnr_db };
        let layers = vec![layer("</text><script>&\"\u{1b}"), layer("b")];
        let profile = Profile { samples: 1, layers, frontier: vec![point(4.0, 10.0), point(8.0, 30.0), point(32.0, 120.0)] };
        let svg = plot(&profile);
        assert!(!svg.contains("<script") && !svg.contains('\u{1b}') && svg.contains("&lt;script&gt;"), "{svg}");
        assert!(svg.starts_with("<svg") && svg.ends_with("</svg>\n") && !svg.contains("NaN") && !svg.contains("inf"));
        assert_eq!(svg.matches("<circle").count(), 3 * 2 + 2);
        assert!(plot(&Profile { samples: 0, layers: Vec::new(), frontier: Vec::new() }).ends_with("</svg>\n"));
    }
}
