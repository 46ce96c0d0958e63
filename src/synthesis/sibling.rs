//! A network that computes the same as another and still has the BatchNormalizations that the other has folded.

use super::{Config, Synthesis, check_names, synthesize};
use crate::calibration::CalibrationSet;
use crate::error::{Error, Result};
use crate::execution::{self, evaluate};
use crate::graph::{Graph, ValueId};
use crate::passes::{batch_norm_statistics, simplify, single_sample};
use crate::progress::Progress;

/// Largest distance of the outputs of siblings, as a part of the outputs: folding changes the last bits of weights only.
pub const TOLERANCE: f64 = 1e-3;
/// Images that both networks see.
const PROBES: usize = 8;

/// Makes images for `model` from its own statistics, or from those of its sibling where it has one.
///
/// # Errors
/// As [`synthesize`] and [`Sibling::hand_over`].
pub fn synthesize_for(model: &Graph, sibling: Option<&Sibling>, config: &Config, progress: &dyn Progress) -> Result<Synthesis> {
    let Some(sibling) = sibling else { return synthesize(model, config, progress) };
    let names = model.inputs.iter().zip(&sibling.graph.inputs);
    let names = names.map(|(here, there)| (model.value(*here).name.as_str(), sibling.graph.value(*there).name.as_str()));
    check_names(&config.input_range, model)?;
    let config = &Config { input_range: config.input_range.renamed(names), ..config.clone() };
    let mut synthesis = synthesize(&sibling.graph, config, progress)?;
    sibling.hand_over(&mut synthesis, model, &config.execution)?;
    Ok(synthesis)
}

/// A network to take statistics from.
#[derive(Clone, Debug)]
pub struct Sibling {
    /// Simplified, with its BatchNormalizations.
    pub graph: Graph,
    pub sha256: String,
}

impl Sibling {
    /// Takes `graph` for a sibling of `model`, whose input sizes it gets where its own are open.
    ///
    /// # Errors
    /// If its inputs are not those of `model`, or it has no BatchNormalization either.
    pub fn new(mut graph: Graph, sha256: String, model: &Graph) -> Result<Self> {
        check_number("inputs", &graph.inputs, &model.inputs)?;
        check_number("outputs", &graph.outputs, &model.outputs)?;
        for (own, other) in graph.inputs.clone().into_iter().zip(&model.inputs) {
            let (value, other) = (graph.value(own), model.value(*other));
            let (Some(shape), Some(wanted)) = (&value.shape, &other.shape) else { continue };
            let fits = |(own, other): (&crate::graph::Dim, &crate::graph::Dim)| match (own.known(), other.known()) {
                (Some(own), Some(other)) => own == other,
                _ => true,
            };
            if shape.len() != wanted.len() || !shape.iter().zip(wanted).all(fits) {
                let shown = |dims: &[crate::graph::Dim]| dims.iter().map(ToString::to_string).collect::<Vec<_>>().join("x");
                return Err(refuse(&format!("its input `{}` is {}, that of the model is {}", value.name, shown(shape), shown(wanted))));
            }
            let shape = shape.iter().zip(wanted).map(|(own, other)| if own.known().is_some() { own.clone() } else { other.clone() });
            let (data_type, shape) = (value.data_type, shape.collect());
            graph.set_facts(own, data_type, Some(shape));
        }
        simplify(&mut graph)?;
        if batch_norm_statistics(&graph)?.is_empty() {
            return Err(refuse("it has no BatchNormalization either"));
        }
        Ok(Sibling { graph, sha256 })
    }

    /// Makes `synthesis`, whose images were made for this network, one for `model`, and returns how far their outputs are
    /// from each other on these images, as a part of the outputs.
    ///
    /// # Errors
    /// As [`Sibling::check`].
    pub fn hand_over(&self, synthesis: &mut Synthesis, model: &Graph, config: &execution::Config) -> Result<f64> {
        let distance = self.check(&synthesis.set, model, config)?;
        let single = single_sample(model)?;
        for (index, value) in single.inputs.iter().enumerate() {
            let name = &single.value(*value).name;
            synthesis.set.inputs[index].name.clone_from(name);
            synthesis.inputs[index].name.clone_from(name);
        }
        synthesis.set.provenance.statistics_sha256 = Some(self.sha256.clone());
        Ok(distance)
    }

    /// How far the outputs are from those of `model` on some images of `set`, as a part of the outputs.
    ///
    /// # Errors
    /// If that is more than [`TOLERANCE`]: the two are not siblings.
    pub fn check(&self, set: &CalibrationSet, model: &Graph, config: &execution::Config) -> Result<f64> {
        let probes = set.slice(0..PROBES.min(set.len()));
        let (ours, theirs) =
            (evaluate(&self.graph, &self.graph.outputs, &probes, config)?, evaluate(model, &model.outputs, &probes, config)?);
        let mut distance = 0.0f64;
        for (ours, theirs) in ours.iter().zip(&theirs) {
            if ours.shape() != theirs.shape() {
                return Err(refuse(&format!(
                    "one of its outputs is {:?} where the model's is {:?}",
                    &ours.shape()[1..],
                    &theirs.shape()[1..]
                )));
            }
            let difference = ours.iter().zip(theirs).map(|(a, b)| f64::from(a - b).powi(2)).sum::<f64>();
            let power = theirs.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>();
            let found = (difference / power.max(f64::MIN_POSITIVE)).sqrt();
            distance = if found.is_nan() { found } else { distance.max(found) };
            if distance.is_nan() {
                break;
            }
        }
        // A number that is none must not pass.
        if distance.is_nan() || distance > TOLERANCE {
            return Err(refuse(&format!(
                "its outputs differ from those of the model by {:.1e} of their size on {} images; up to {TOLERANCE:.0e} is rounding",
                distance,
                probes.len()
            )));
        }
        Ok(distance)
    }
}

fn check_number(what: &str, own: &[ValueId], other: &[ValueId]) -> Result<()> {
    if own.len() == other.len() { Ok(()) } else { Err(refuse(&format!("it has {} {what}, the model {}", own.len(), other.len()))) }
}

fn refuse(reason: &str) -> Error {
    Error::Usage(format!("the network to take statistics from is no sibling of the model: {reason}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::sketch::Sketch;
    use crate::passes::prepare;
    use crate::progress::Silent;
    use crate::synthesis::method::Method;

    fn config() -> Config {
        let (method, execution) = (Method::default(), execution::Config::default());
        let input_range = "-2,2".parse().unwrap();
        Config { samples: 4, batch: 4, steps: 5, sufficient: None, seed: 0, input_range, method, execution }
    }

    /// The residual network, its BatchNormalizations folded, with its input called otherwise.
    fn folded() -> Graph {
        let mut graph = Sketch::residual();
        prepare(&mut graph).unwrap();
        graph
    }

    #[test]
    fn a_sibling_gives_images_to_the_folded_network() {
        let (model, unfolded) = (folded(), Sketch::residual());
        let sibling = Sibling::new(unfolded.clone(), "abc".into(), &model).unwrap();
        let (mut given, own) =
            (synthesize(&sibling.graph, &config(), &Silent).unwrap(), synthesize(&unfolded, &config(), &Silent).unwrap());
        let distance = sibling.hand_over(&mut given, &model, &execution::Config::default()).unwrap();
        assert!(distance < 1e-5, "{distance}");
        assert!(given.set.inputs == own.set.inputs && given.loss.is_some());
        assert_eq!(given.set.provenance.statistics_sha256.as_deref(), Some("abc"));
    }

    #[test]
    fn a_stranger_is_refused_with_what_was_measured() {
        let model = folded();
        let says = |result: Result<()>| result.unwrap_err().to_string();
        assert!(says(Sibling::new(model.clone(), String::new(), &model).map(drop)).contains("no BatchNormalization"));
        let narrow = Sketch::new(&[0, 3, 8, 4]).conv("c", "x", (3, 4), 3, 1).norm("n", "c", 4).outputs("n");
        assert!(says(Sibling::new(narrow, String::new(), &model).map(drop)).contains("3x8x4"));
        let other = Sketch::new(&[0, 3, 8, 8]).conv("c", "x", (3, 4), 3, 1).norm("n", "c", 4);
        let other = other.plain("p", "GlobalAveragePool", "n").plain("y", "Flatten", "p").outputs("y");
        let sibling = Sibling::new(other, String::new(), &model).unwrap();
        let mut images = synthesize(&sibling.graph, &config(), &Silent).unwrap();
        let refusal = says(sibling.hand_over(&mut images, &model, &execution::Config::default()).map(drop));
        assert!(refusal.contains("differ") && refusal.contains("of their size on 4 images"), "{refusal}");
    }
}
