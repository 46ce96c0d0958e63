//! One page that needs nothing else: no network, no script.

use minijinja::{AutoEscape, Environment, Output, State, Value, context, escape_formatter};
use serde::Serialize;

use super::chart::{self, CURVE, HISTOGRAM, Histogram, Line, Scale};
use super::evidence::Evidence;
use crate::cli::plot::plot;
use crate::cli::text;
use crate::error::{Error, Result};
use crate::evaluation::QuantizeReport;

const TEMPLATES: [(&str, &str); 3] =
    [("page.html", include_str!("page.html")), ("drawing.html", include_str!("drawing.html")), ("style.css", include_str!("style.css"))];

#[derive(Serialize)]
struct DrawnCurve {
    stage: String,
    steps: usize,
    first: f64,
    last: f64,
    line: Line,
}

#[derive(Serialize)]
struct DrawnRange {
    name: String,
    data_type: String,
    seen: (f32, f32),
    chosen: (f64, f64),
    tuned: (f64, f64),
    drawn: Histogram,
}

/// A layer's name and numbers, with the length of their bars in percent.
#[derive(Serialize)]
struct Bars {
    name: String,
    about: String,
    values: Vec<Option<f64>>,
    lengths: Vec<f64>,
}

/// All there is to see of `report`.
///
/// # Errors
/// If a template is wrong.
pub fn page(report: &QuantizeReport, evidence: &Evidence) -> Result<String> {
    let (distances, logarithmic) = distance_bars(evidence);
    let context = context! {
        report,
        distances,
        logarithmic,
        curve_size => CURVE,
        histogram_size => HISTOGRAM,
        file => name_of(&report.model.path),
        galleries => evidence.galleries,
        distance => evidence.distances,
        curves => curves(evidence),
        ranges => ranges(evidence),
        kernels => evidence.kernels,
        settings => evidence.settings,
        layers => layer_bars(report),
        stages => stage_bars(report),
        percent => 100.0 * report.output.bytes as f64 / report.model.bytes.max(1) as f64,
        sensitivity => evidence.profile.as_ref().map(plot),
    };
    let rendered = environment().and_then(|environment| environment.get_template("page.html")?.render(context));
    rendered.map_err(|error| Error::Internal(format!("the page cannot be made: {error:#}")))
}

fn environment() -> Result<Environment<'static>, minijinja::Error> {
    let mut environment = Environment::new();
    environment.set_auto_escape_callback(|name| if name.ends_with(".html") { AutoEscape::Html } else { AutoEscape::None });
    environment.set_formatter(write_escaped);
    environment.set_undefined_behavior(minijinja::UndefinedBehavior::Strict);
    environment.set_trim_blocks(true);
    environment.set_lstrip_blocks(true);
    environment.add_filter("bytes", text::bytes);
    environment.add_filter("brief", |number: Option<f64>| number.map_or("none".to_string(), text::brief));
    environment.add_filter("fixed", |number: f64, digits: usize| format!("{number:.digits$}"));
    for (name, source) in TEMPLATES {
        environment.add_template(name, source)?;
    }
    Ok(environment)
}

/// Names in files may hold anything: characters that steer the text around them are shown as their codes, those that mean
/// something in HTML as themselves.
fn write_escaped(out: &mut Output<'_>, state: &State<'_, '_>, value: &Value) -> Result<(), minijinja::Error> {
    match value.as_str().filter(|_| !value.is_safe()) {
        Some(text) => escape_formatter(out, state, &Value::from(text::escape(text))),
        None => escape_formatter(out, state, value),
    }
}

fn name_of(path: &str) -> String {
    std::path::Path::new(path).file_name().map_or_else(|| path.to_string(), |name| name.to_string_lossy().into_owned())
}

fn curves(evidence: &Evidence) -> Vec<DrawnCurve> {
    let draw = |curve: &crate::evaluation::Curve| {
        let points = curve.points();
        let (first, last) = (points.first()?.1, points.last()?.1);
        Some(DrawnCurve { stage: curve.stage.clone(), steps: curve.steps(), first, last, line: chart::line(&points) })
    };
    evidence.curves.iter().filter_map(draw).collect()
}

fn ranges(evidence: &Evidence) -> Vec<DrawnRange> {
    let draw = |range: &crate::pipeline::ValueRange| DrawnRange {
        name: range.name.clone(),
        data_type: range.data_type.to_string(),
        seen: (range.seen.low, range.seen.high),
        chosen: range.chosen,
        tuned: range.tuned,
        drawn: chart::histogram(&range.seen, range.chosen, range.tuned),
    };
    evidence.ranges.iter().map(draw).collect()
}

/// Bars on one scale, and whether it is logarithmic.
fn bars(rows: Vec<(String, String, Vec<Option<f64>>)>) -> (Vec<Bars>, bool) {
    let scale = Scale::of(rows.iter().flat_map(|(_, _, values)| values).flatten().copied());
    let bars_scale = scale.for_bars();
    let length = |value: &Option<f64>| value.map_or(0.0, |value| (1000.0 * bars_scale.part(value)).round() / 10.0);
    let bar = |(name, about, values): (String, String, Vec<Option<f64>>)| Bars {
        name,
        about,
        lengths: values.iter().map(length).collect(),
        values,
    };
    (rows.into_iter().map(bar).collect(), scale.logarithmic)
}

fn distance_bars(evidence: &Evidence) -> (Vec<Bars>, bool) {
    let layers = evidence.distances.layers.iter();
    bars(layers.map(|layer| (layer.node.clone(), String::new(), vec![layer.before, Some(layer.after)])).collect())
}

fn layer_bars(report: &QuantizeReport) -> Vec<Bars> {
    let layers = report.check.iter().flat_map(|check| &check.layers);
    let about = |layer: &crate::evaluation::LayerCheck| format!("{}, weights {}, input {}", layer.operator, layer.weights, layer.input);
    linear(layers.map(|layer| (layer.node.clone(), about(layer), vec![Some(layer.sqnr_db)])).collect())
}

fn stage_bars(report: &QuantizeReport) -> Vec<Bars> {
    let steps = |steps: usize| if steps == 0 { String::new() } else { text::plural(steps, "step") };
    let stages = report.cost.stages.iter();
    linear(stages.map(|stage| (stage.name.clone(), steps(stage.steps), vec![Some(stage.seconds)])).collect())
}

/// Bars from 0 on.
fn linear(mut rows: Vec<(String, String, Vec<Option<f64>>)>) -> Vec<Bars> {
    // A zero keeps the scale linear.
    rows.push((String::new(), String::new(), vec![Some(0.0)]));
    let (mut bars, _) = bars(rows);
    bars.pop();
    bars
}
