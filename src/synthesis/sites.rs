//! Where a graph has statistics to match, or is likely to have had some.

use std::collections::{HashMap, HashSet};

use super::goal::Site;
use super::input::Input;
use super::loss::Gaussian;
use super::method::Assumption;
use super::moments::{Moments, moments};
use crate::error::Result;
use crate::graph::{Graph, Node, ValueId, known_shape};
use crate::ops::{Conv, ConvTranspose, Gemm};
use crate::passes::{BatchNormSite, batch_norm_statistics};
use crate::progress::Progress;

/// Sites that say something: statistics that were never trained (mean 0, variance 1) do not.
///
/// # Errors
/// If statistics are not constant, negative or not finite.
pub fn informative(graph: &Graph, progress: &dyn Progress) -> Result<Vec<Site>> {
    let found = batch_norm_statistics(graph)?;
    let untrained = |site: &BatchNormSite| site.mean.iter().all(|m| *m == 0.0) && site.variance.iter().all(|v| *v == 1.0);
    if !found.is_empty() && found.iter().all(untrained) {
        progress.warn("all BatchNormalization statistics are mean 0 and variance 1: the model looks untrained");
        return Ok(Vec::new());
    }
    let site = |site: BatchNormSite| {
        let epsilon = f64::from(site.epsilon).max(1e-8);
        let gaussian = |(mean, variance): (&f32, &f32)| Gaussian { mean: f64::from(*mean), variance: f64::from(*variance) + epsilon };
        Site { value: site.input, stored: site.mean.iter().zip(&site.variance).map(gaussian).collect(), epsilon }
    };
    let mut sites: Vec<Site> = found.into_iter().map(site).collect();
    // A value that two BatchNormalizations read counts once.
    let mut seen = HashSet::new();
    sites.retain(|site| seen.insert(site.value));
    Ok(sites)
}

/// What BatchNormalization makes before it is trained, and stays near to.
const STANDARD: Gaussian = Gaussian { mean: 0.0, variance: 1.0 };
const EPSILON: f64 = 1e-5;

/// What may be said of the layers of a network that has no BatchNormalization left: exporters fold it into the layer before.
/// Layers that lead to outputs alone are left out, since nothing normalizes those. `graph` takes one sample.
pub fn assumed(graph: &Graph, inputs: &[Input], assumption: Assumption) -> Vec<Site> {
    let known = match assumption {
        Assumption::Automatic | Assumption::None | Assumption::Classes => return Vec::new(),
        Assumption::Standard => HashMap::new(),
        Assumption::Propagated => {
            let natural = graph.inputs.iter().zip(inputs).filter_map(|(value, input)| Some((*value, Moments::natural(input)?)));
            moments(graph, &natural.collect())
        }
    };
    let site = |value: ValueId| {
        let channels = *known_shape(graph.value(value).shape.as_deref()?)?.get(1)?;
        let stored = match known.get(&value) {
            Some(found) => found.channels.iter().map(|channel| widened(channel.gaussian)).collect(),
            None if assumption == Assumption::Propagated => return None,
            None => vec![STANDARD; channels],
        };
        Some(Site { value, stored, epsilon: EPSILON })
    };
    inner_layers(graph).into_iter().filter_map(site).collect()
}

fn widened(gaussian: Gaussian) -> Gaussian {
    Gaussian { variance: gaussian.variance + EPSILON, ..gaussian }
}

/// What layers with weights make that other layers with weights read in the end, in execution order. Layers of single
/// pixels are left out: gates, whose pixels are means already.
fn inner_layers(graph: &Graph) -> Vec<ValueId> {
    let mut read = HashSet::new();
    let mut layers = Vec::new();
    for (_, node) in graph.nodes().rev() {
        let leads = is_weighted(graph, node);
        let inner = node.outputs.iter().flatten().any(|value| read.contains(value));
        if leads && inner && !makes_single_pixels(graph, node) {
            layers.extend(node.output(0));
        }
        if leads || inner {
            read.extend(node.inputs.iter().flatten().copied());
        }
    }
    layers.reverse();
    layers
}

fn is_weighted(graph: &Graph, node: &Node) -> bool {
    let kind = node.is::<Conv>().is_some() || node.is::<ConvTranspose>().is_some() || node.is::<Gemm>().is_some();
    kind && node.input(1).is_some_and(|weights| graph.constant(weights).is_some())
}

fn makes_single_pixels(graph: &Graph, node: &Node) -> bool {
    let shape = node.output(0).and_then(|value| known_shape(graph.value(value).shape.as_deref()?));
    shape.is_none_or(|shape| shape.len() > 2 && shape[2..].iter().all(|size| *size == 1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::sketch::Sketch;
    use crate::passes::{prepare, single_sample};
    use crate::synthesis::input_range::PixelRange;

    #[test]
    fn layers_that_were_normalized_are_found_without_their_normalization() {
        let mut graph = Sketch::residual();
        let before: Vec<String> = batch_norm_statistics(&graph).unwrap().into_iter().map(|site| site.name).collect();
        prepare(&mut graph).unwrap();
        let graph = single_sample(&graph).unwrap();
        let input = Input::new("x", vec![1, 3, 8, 8], PixelRange::uniform("signed", -1.0, 1.0));
        let found = |assumption| assumed(&graph, std::slice::from_ref(&input), assumption);
        let standard = found(Assumption::Standard);
        assert_eq!(standard.iter().map(|site| graph.value(site.value).name.clone()).collect::<Vec<_>>(), before);
        assert!(standard.iter().all(|site| site.stored == vec![STANDARD; 8]));
        let propagated = found(Assumption::Propagated);
        assert_eq!(
            propagated.iter().map(|site| site.value).collect::<Vec<_>>(),
            standard.iter().map(|site| site.value).collect::<Vec<_>>()
        );
        assert!(propagated.iter().flat_map(|site| &site.stored).all(|gaussian| gaussian.variance > 0.0 && *gaussian != STANDARD));
        assert!(found(Assumption::None).is_empty());
    }
}
