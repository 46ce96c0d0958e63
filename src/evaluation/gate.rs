//! What a comparison must reach, and whether it does.

use serde::Serialize;

use super::baseline::Baseline;
use super::detection::{Detection, MAP};
use super::labelled::MEAN_IOU;
use super::latency::Ratio;
use super::layers::LayerComparison;
use super::layout::Unit;
use super::output::OutputComparison;
use super::report::{Accuracy, Comparison, Labelled};
use super::rule::Rule;
use crate::error::{Error, Result};

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
                    return Err(Error::Usage(format!("--{} cannot be judged: {}", rule.name(), rule.missing())));
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
        let boxes = |figure: fn(&Detection) -> Option<f64>| -> Vec<Verdict> {
            let found = measured.comparison.detection.as_ref().and_then(figure);
            found.map(|found| Verdict::new(rule, Place::Model, found, limit)).into_iter().collect()
        };
        let labelled = |measure: &str| -> Vec<Verdict> {
            let found = measured.comparison.labelled.iter().filter(|found| found.measure == measure);
            found.map(|found| Verdict::of_labels(rule, found, limit)).collect()
        };
        match rule {
            Rule::Agreement => measured.comparison.outputs.iter().filter_map(|output| Verdict::of_agreement(output, limit)).collect(),
            Rule::Sqnr => measured.comparison.outputs.iter().map(|output| Verdict::of_sqnr(output, limit)).collect(),
            Rule::DecileSqnr => outputs(|output| Some(output.worst_decile_sqnr_db)),
            Rule::Cosine => outputs(|output| Some(output.cosine)),
            Rule::Iou => outputs(|output| output.overlap.map(|overlap| overlap.mean_iou)),
            Rule::DecileCosine => outputs(|output| output.cosines.map(|cosines| cosines.worst_decile)),
            Rule::Rank1 => outputs(|output| output.rank1_percent),
            Rule::P99Error => outputs(|output| output.errors.map(|errors| errors.p99)),
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
            Rule::Matched => boxes(|found| found.matched_percent),
            Rule::BoxIou => boxes(|found| found.mean_iou),
            Rule::Map => boxes(|found| found.map_50_95),
            Rule::IouDrop => labelled(MEAN_IOU),
            Rule::MapDrop => labelled(MAP),
            Rule::Size => vec![Verdict::new(rule, Place::Model, measured.size as f64, limit)],
            Rule::Latency => measured.latency.map(|ratio| Verdict::of_latency(ratio, limit)).into_iter().collect(),
            Rule::Regression => self.baseline.as_ref().map(|baseline| baseline.regressions(measured, limit)).unwrap_or_default(),
        }
    }
}

impl Verdict {
    pub(super) fn new(rule: Rule, place: Place, found: f64, limit: f64) -> Self {
        let message = rule.message(&place.to_string(), &rule.told(found), limit);
        Verdict { rule, place, found, limit, passed: rule.is_kept(found, limit), message }
    }

    fn of_agreement(output: &OutputComparison, limit: f64) -> Option<Self> {
        let (found, rule, place) = (output.agreement_percent?, Rule::Agreement, Place::Output(output.name.clone()));
        let unit = output.agreement_of.map_or("samples", Unit::name);
        let message = rule.message(&place.to_string(), &format!("{} of the {unit} agree", rule.amount(found)), limit);
        Some(Verdict { message, ..Verdict::new(rule, place, found, limit) })
    }

    fn of_labels(rule: Rule, found: &Labelled, limit: f64) -> Self {
        let place = found.output.clone().map_or(Place::Model, Place::Output);
        Verdict::new(rule, place, found.drop_points(), limit)
    }

    /// The worst part of an output stands for it.
    fn of_sqnr(output: &OutputComparison, limit: f64) -> Self {
        let (found, rule) = (output.least_sqnr(), Rule::Sqnr);
        let message = rule.message(&output.worst_place(), &rule.told(found), limit);
        Verdict { message, ..Verdict::new(rule, Place::Output(output.name.clone()), found, limit) }
    }

    /// A time is too long only where it is by more than the measurement errs.
    fn of_latency(ratio: Ratio, limit: f64) -> Self {
        let message = format!("model: takes {ratio} of the time of the reference, at most {limit} asked");
        Verdict { passed: ratio.least() <= limit, message, ..Verdict::new(Rule::Latency, Place::Model, ratio.median, limit) }
    }
}

#[cfg(test)]
mod tests {
    use super::super::confusion::Overlap;
    use super::super::latency::Speed;
    use super::super::numbers::{Cosines, Errors};
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
        let output = &mut comparison.outputs[0];
        output.cosines = Some(Cosines { mean: 0.99, worst_decile: 0.95 });
        output.errors = Some(Errors { p99: 0.25, ..Errors::default() });
        output.rank1_percent = Some(98.0);
        output.overlap = Some(Overlap { mean_iou: 0.9, classes: 3 });
        let labelled = |measure: &str| Labelled { measure: measure.into(), output: None, samples: 4, reference: 0.75, candidate: 0.5 };
        comparison.labelled = vec![labelled(MEAN_IOU), labelled(MAP)];
        let boxes = Detection { matched_percent: Some(95.0), mean_iou: Some(0.8), ..Detection::default() };
        comparison.detection = Some(Detection { map_50_95: Some(0.7), ..boxes });
        comparison.accuracy = Some(Accuracy { output: "y".into(), samples: 4, reference_percent: 90.0, candidate_percent: 89.0 });
        let latency = Some(Ratio { median: 0.5, interval: Some((0.48, 0.53)), verdict: Speed::Faster });
        let measured = Measured { comparison: &comparison, layers: Some(&layers), size: 100, latency };
        let cases = [
            (Rule::Agreement, 98.0, 98.1),
            (Rule::Sqnr, 20.0, 20.1),
            (Rule::DecileSqnr, 18.0, 18.1),
            (Rule::Cosine, 0.99, 0.991),
            (Rule::AbsError, 0.5, 0.49),
            (Rule::Iou, 0.9, 0.91),
            (Rule::Matched, 95.0, 95.1),
            (Rule::BoxIou, 0.8, 0.81),
            (Rule::Map, 0.7, 0.71),
            (Rule::IouDrop, 25.0, 24.9),
            (Rule::MapDrop, 25.0, 24.9),
            (Rule::DecileCosine, 0.95, 0.951),
            (Rule::Rank1, 98.0, 98.1),
            (Rule::P99Error, 0.25, 0.249),
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
        let measurable = [Rule::Sqnr, Rule::DecileSqnr, Rule::Cosine, Rule::AbsError, Rule::Size];
        for rule in Rule::ALL.into_iter().filter(|rule| !measurable.contains(rule)) {
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
