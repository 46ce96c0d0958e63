//! What a comparison must reach, and whether it does.

use serde::{Serialize, Serializer};

use super::baseline::Baseline;
use super::latency::Ratio;
use super::layers::LayerComparison;
use super::layout::Unit;
use super::report::{Accuracy, Comparison, OutputComparison};
use crate::error::{Error, Result};

/// A figure that can be held against a limit. Named as the flag that sets the limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rule {
    Agreement,
    Sqnr,
    DecileSqnr,
    Cosine,
    AbsError,
    LayerSqnr,
    Top1Drop,
    Size,
    Latency,
    Regression,
}

impl Rule {
    pub const ALL: [Rule; 10] = [
        Rule::Agreement,
        Rule::Sqnr,
        Rule::DecileSqnr,
        Rule::Cosine,
        Rule::AbsError,
        Rule::LayerSqnr,
        Rule::Top1Drop,
        Rule::Size,
        Rule::Latency,
        Rule::Regression,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Rule::Agreement => "min-agreement",
            Rule::Sqnr => "min-sqnr",
            Rule::DecileSqnr => "min-decile-sqnr",
            Rule::Cosine => "min-cosine",
            Rule::AbsError => "max-abs-error",
            Rule::LayerSqnr => "min-layer-sqnr",
            Rule::Top1Drop => "max-top1-drop",
            Rule::Size => "max-size",
            Rule::Latency => "max-latency",
            Rule::Regression => "max-regression",
        }
    }

    pub fn description(self) -> &'static str {
        match self {
            Rule::Agreement => "percent of samples, positions or pixels that an output gives the same class in both models",
            Rule::Sqnr => "signal-to-noise ratio of an output, or of its worst part where numbers of unlike size lie in one, in decibels",
            Rule::DecileSqnr => "signal-to-noise ratio of an output on the worst tenth of the samples, in decibels",
            Rule::Cosine => "cosine of the angle between the outputs of both models",
            Rule::AbsError => "greatest difference between two elements of an output",
            Rule::LayerSqnr => {
                "signal-to-noise ratio of a value within the network, in decibels, after the best scale and shift of each channel"
            }
            Rule::Top1Drop => "points of top-1 accuracy that are lost on labelled data",
            Rule::Size => "bytes of the candidate, its external data included",
            Rule::Latency => "time of one sample in ONNX Runtime, with the reference as 1",
            Rule::Regression => "how much worse a figure is than in the baseline: points of agreement or accuracy, decibels of SQNR",
        }
    }

    /// Whether the limit is the least that is allowed; else it is the most.
    fn is_least(self) -> bool {
        matches!(self, Rule::Agreement | Rule::Sqnr | Rule::DecileSqnr | Rule::Cosine | Rule::LayerSqnr)
    }
}

impl Serialize for Rule {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

/// Limits of a comparison; what is not set is not judged.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Gate {
    pub limits: Vec<(Rule, f64)>,
    /// What [`Rule::Regression`] is held against.
    pub baseline: Option<Baseline>,
}

/// Where a figure was found.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "kind", content = "name", rename_all = "lowercase")]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub enum Place {
    Model,
    Output(String),
    Layer(String),
}

impl Place {
    pub fn name(&self) -> &str {
        match self {
            Place::Model => "model",
            Place::Output(name) | Place::Layer(name) => name,
        }
    }

    fn kind(&self) -> &'static str {
        match self {
            Place::Model => "model",
            Place::Output(_) => "output",
            Place::Layer(_) => "layer",
        }
    }
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Place::Model => f.write_str("model"),
            Place::Output(name) | Place::Layer(name) => write!(f, "{} `{name}`", self.kind()),
        }
    }
}

/// One figure held against its limit.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Verdict {
    #[cfg_attr(test, schemars(with = "String"))]
    pub rule: Rule,
    pub place: Place,
    /// In the unit of the rule; `null` in JSON where it is infinite.
    #[cfg_attr(test, schemars(with = "Option<f64>"))]
    pub found: f64,
    pub limit: f64,
    pub passed: bool,
    /// The same in words.
    pub message: String,
}

/// All that was measured of two models.
#[derive(Clone, Copy)]
pub struct Measured<'a> {
    pub comparison: &'a Comparison,
    pub layers: Option<&'a [LayerComparison]>,
    /// Bytes of the candidate.
    pub size: u64,
    pub latency: Option<Ratio>,
}

impl Gate {
    /// Every limit against every figure that it is for, in the order of [`Rule::ALL`].
    ///
    /// # Errors
    /// If there is no figure that a limit could be held against.
    pub fn judge(&self, measured: &Measured<'_>) -> Result<Vec<Verdict>> {
        let mut verdicts = Vec::new();
        for rule in Rule::ALL {
            for (_, limit) in self.limits.iter().filter(|(wanted, _)| *wanted == rule) {
                let found = self.verdicts(rule, *limit, measured);
                if found.is_empty() {
                    return Err(Error::Usage(format!("--{} cannot be judged: {}", rule.name(), nothing_for(rule))));
                }
                verdicts.extend(found);
            }
        }
        Ok(verdicts)
    }

    fn verdicts(&self, rule: Rule, limit: f64, measured: &Measured<'_>) -> Vec<Verdict> {
        let outputs = |figure: fn(&OutputComparison) -> Option<f64>| -> Vec<Verdict> {
            let found = measured.comparison.outputs.iter().filter_map(|output| Some((output, figure(output)?)));
            found.map(|(output, found)| Verdict::new(rule, Place::Output(output.name.clone()), found, limit)).collect()
        };
        match rule {
            Rule::Agreement => measured.comparison.outputs.iter().filter_map(|output| Verdict::of_agreement(output, limit)).collect(),
            Rule::Sqnr => measured.comparison.outputs.iter().map(|output| Verdict::of_sqnr(output, limit)).collect(),
            Rule::DecileSqnr => outputs(|output| Some(output.worst_decile_sqnr_db)),
            Rule::Cosine => outputs(|output| Some(output.cosine)),
            Rule::AbsError => outputs(|output| Some(output.max_abs_error)),
            Rule::LayerSqnr => {
                let layers = measured.layers.unwrap_or_default().iter();
                layers.map(|layer| Verdict::new(rule, Place::Layer(layer.name.clone()), layer.sqnr_db, limit)).collect()
            }
            Rule::Top1Drop => {
                let accuracy = measured.comparison.accuracy.iter();
                let drop = |accuracy: &Accuracy| accuracy.reference_percent - accuracy.candidate_percent;
                accuracy.map(|found| Verdict::new(rule, Place::Output(found.output.clone()), drop(found), limit)).collect()
            }
            Rule::Size => vec![Verdict::new(rule, Place::Model, measured.size as f64, limit)],
            Rule::Latency => measured.latency.map(|ratio| Verdict::of_latency(ratio, limit)).into_iter().collect(),
            Rule::Regression => self.baseline.as_ref().map(|baseline| baseline.regressions(measured, limit)).unwrap_or_default(),
        }
    }
}

impl Verdict {
    pub(super) fn new(rule: Rule, place: Place, found: f64, limit: f64) -> Self {
        let message = asked(rule, &place.to_string(), &told(rule, found), limit);
        let passed = if rule.is_least() { found >= limit } else { found <= limit };
        Verdict { rule, place, found, limit, passed, message }
    }

    fn of_agreement(output: &OutputComparison, limit: f64) -> Option<Self> {
        let (found, rule, place) = (output.agreement_percent?, Rule::Agreement, Place::Output(output.name.clone()));
        let unit = output.agreement_of.map_or("samples", Unit::name);
        let message = asked(rule, &place.to_string(), &format!("{} of the {unit} agree", amount(rule, found)), limit);
        Some(Verdict { message, ..Verdict::new(rule, place, found, limit) })
    }

    /// The worst part of an output stands for it.
    fn of_sqnr(output: &OutputComparison, limit: f64) -> Self {
        let found = output.least_sqnr();
        let message = asked(Rule::Sqnr, &output.worst_place(), &told(Rule::Sqnr, found), limit);
        Verdict { message, ..Verdict::new(Rule::Sqnr, Place::Output(output.name.clone()), found, limit) }
    }

    /// A time is too long only where it is by more than the measurement errs.
    fn of_latency(ratio: Ratio, limit: f64) -> Self {
        let message = format!("model: takes {ratio} of the time of the reference, at most {limit} asked");
        Verdict { passed: ratio.least() <= limit, message, ..Verdict::new(Rule::Latency, Place::Model, ratio.median, limit) }
    }
}

/// A figure in words, and its limit.
fn asked(rule: Rule, place: &str, told: &str, limit: f64) -> String {
    let bound = if rule.is_least() { "least" } else { "most" };
    format!("{place}: {told}, at {bound} {} asked", amount(rule, limit))
}

/// `SQNR 20.00 dB`.
fn told(rule: Rule, found: f64) -> String {
    let amount = amount(rule, found);
    match rule {
        Rule::DecileSqnr => format!("SQNR {amount} on the worst tenth of the samples"),
        Rule::Sqnr | Rule::LayerSqnr => format!("SQNR {amount}"),
        Rule::Cosine => format!("cosine {amount}"),
        Rule::AbsError => format!("greatest error {amount}"),
        Rule::Top1Drop => format!("top-1 accuracy falls by {amount}"),
        Rule::Size => format!("has {amount}"),
        Rule::Agreement | Rule::Latency | Rule::Regression => amount,
    }
}

fn amount(rule: Rule, number: f64) -> String {
    match rule {
        Rule::Agreement => format!("{number:.2} %"),
        Rule::Sqnr | Rule::DecileSqnr | Rule::LayerSqnr => format!("{number:.2} dB"),
        Rule::Cosine => format!("{number:.6}"),
        Rule::AbsError => format!("{number:.3e}"),
        Rule::Top1Drop => format!("{number:.2} points"),
        Rule::Size => format!("{number:.0} bytes"),
        Rule::Latency | Rule::Regression => format!("{number:.3}"),
    }
}

fn nothing_for(rule: Rule) -> &'static str {
    match rule {
        Rule::Agreement => "no output has a score for each of several classes",
        Rule::LayerSqnr => "no value within the networks has the same name and size in both",
        Rule::Top1Drop => "there are no labels; give --data a folder with a folder for each class, or a .npz with an array `labels`",
        Rule::Regression => "the baseline has none of the outputs",
        _ => "there is nothing to measure",
    }
}

#[cfg(test)]
mod tests {
    use super::super::latency::Speed;
    use super::super::parts::Part;
    use super::*;

    fn output(name: &str, agreement_percent: Option<f64>, sqnr_db: f64) -> OutputComparison {
        let (cosine, worst_decile_sqnr_db) = (0.99, sqnr_db - 2.0);
        let output = OutputComparison { name: name.into(), agreement_percent, sqnr_db, cosine, ..OutputComparison::default() };
        OutputComparison { worst_decile_sqnr_db, max_abs_error: 0.5, ..output }
    }

    fn comparison(outputs: Vec<OutputComparison>) -> Comparison {
        Comparison { samples: 4, outputs, ..Comparison::default() }
    }

    fn gate(limits: &[(Rule, f64)]) -> Gate {
        Gate { limits: limits.to_vec(), baseline: None }
    }

    #[test]
    fn every_rule_has_a_limit_on_the_right_side() {
        let mut comparison = comparison(vec![output("y", Some(98.0), 20.0)]);
        let layers = [LayerComparison { name: "h".into(), operator: "Conv".into(), sqnr_db: 15.0 }];
        comparison.accuracy = Some(Accuracy { output: "y".into(), samples: 4, reference_percent: 90.0, candidate_percent: 89.0 });
        let latency = Some(Ratio { median: 0.5, interval: Some((0.48, 0.53)), verdict: Speed::Faster });
        let measured = Measured { comparison: &comparison, layers: Some(&layers), size: 100, latency };
        let cases = [
            (Rule::Agreement, 98.0, 98.1),
            (Rule::Sqnr, 20.0, 20.1),
            (Rule::DecileSqnr, 18.0, 18.1),
            (Rule::Cosine, 0.99, 0.991),
            (Rule::AbsError, 0.5, 0.49),
            (Rule::LayerSqnr, 15.0, 15.1),
            (Rule::Top1Drop, 1.0, 0.9),
            (Rule::Size, 100.0, 99.0),
            (Rule::Latency, 0.48, 0.47),
        ];
        for (rule, fits, fails) in cases {
            let passed = |limit: f64| gate(&[(rule, limit)]).judge(&measured).unwrap()[0].passed;
            assert!(passed(fits) && !passed(fails), "{}", rule.name());
        }
    }

    #[test]
    fn what_cannot_be_judged_is_no_success() {
        let comparison = comparison(vec![output("y", None, 20.0)]);
        let measured = Measured { comparison: &comparison, layers: None, size: 1, latency: None };
        for rule in [Rule::Agreement, Rule::LayerSqnr, Rule::Top1Drop, Rule::Latency, Rule::Regression] {
            let error = gate(&[(rule, 1.0)]).judge(&measured).unwrap_err().to_string();
            assert!(error.contains(rule.name()), "{error}");
        }
        assert!(gate(&[]).judge(&measured).unwrap().is_empty());
    }

    #[test]
    fn what_is_no_number_misses_every_limit() {
        let nan = OutputComparison { cosine: f64::NAN, max_abs_error: f64::INFINITY, ..output("y", Some(f64::NAN), f64::NAN) };
        let comparison = comparison(vec![nan]);
        let measured = Measured { comparison: &comparison, layers: None, size: 1, latency: None };
        for rule in [Rule::Agreement, Rule::Sqnr, Rule::Cosine, Rule::AbsError] {
            assert!(!gate(&[(rule, 0.0)]).judge(&measured).unwrap()[0].passed, "{}", rule.name());
        }
    }

    #[test]
    fn messages_name_the_place_the_figure_and_the_limit() {
        let pixels = OutputComparison { agreement_of: Some(Unit::Pixels), ..output("y", Some(98.2), 20.0) };
        let verdict = Verdict::of_agreement(&pixels, 99.0).unwrap();
        assert_eq!(verdict.message, "output `y`: 98.20 % of the pixels agree, at least 99.00 % asked");
    }

    #[test]
    fn an_output_is_as_good_as_its_worst_part() {
        let part = |first: usize, end: usize, sqnr_db: f64| Part { axis: 1, channels: vec![(first, end)], peak: 1.0, sqnr_db };
        let joined = OutputComparison { parts: vec![part(0, 4, 40.0), part(4, 7, 0.5)], ..output("y", None, 39.8) };
        let verdict = Verdict::of_sqnr(&joined, 10.0);
        assert!(!verdict.passed);
        assert_eq!(verdict.message, "output `y`, channels 4..7: SQNR 0.50 dB, at least 10.00 dB asked");
    }
}
