//! How much of an activation can be a bias.

use std::collections::HashMap;

use super::CalibrationSet;
use super::moments::{Moments, Normal};
use crate::error::Result;
use crate::execution::{self, observe};
use crate::graph::{Graph, ValueId};
use crate::passes::{Seam, absorb_bias, can_absorb_bias, find_seams};

/// Deviations below the mean that hardly anything is beneath.
const DEVIATIONS: f64 = 3.0;

/// Takes max(0, mean − 3 deviations) off every channel between two layers of `graph` and gives it to the biases behind, so
/// that the levels of the activation are spent on what varies. `moments` tells the channels' distributions before the
/// activation; where BatchNormalization left none, they are measured on `set`. The function stays as it was but for what
/// lies below. Returns how many channels were lowered.
///
/// Paper: Nagel et al. 2019 (DFQ), arXiv:1906.04721, section 4.1.3; layers that pad what they read are left alone.
///
/// # Errors
/// If the values between the layers cannot be computed.
pub fn absorb_biases(graph: &mut Graph, set: &CalibrationSet, moments: &mut Moments, config: &execution::Config) -> Result<usize> {
    let seams: Vec<Seam> = find_seams(graph).into_iter().filter(|seam| can_absorb_bias(graph, seam)).collect();
    let known = |seam: &&Seam| moments.of(seam.made).is_some_and(|channels| channels.len() == seam.channels);
    let unknown: Vec<(ValueId, usize)> = seams.iter().filter(|seam| !known(seam)).map(|seam| (seam.made, seam.channels)).collect();
    let measured: HashMap<ValueId, Vec<Normal>> =
        unknown.iter().map(|(value, _)| *value).zip(measure(graph, &unknown, set, config)?).collect();
    let mut count = 0;
    for seam in &seams {
        let channels = measured.get(&seam.made).map(Vec::as_slice).or(moments.of(seam.made)).unwrap_or_default();
        let amounts: Vec<f64> = channels.iter().map(|normal| (normal.mean - DEVIATIONS * normal.deviation).max(0.0)).collect();
        let lowered = amounts.iter().filter(|amount| **amount > 0.0).count();
        if lowered > 0 {
            absorb_bias(graph, seam, &amounts);
            moments.lower(seam.made, &amounts);
            count += lowered;
        }
    }
    Ok(count)
}

/// The distribution of each channel of `values` (with their numbers of channels) on `set`.
fn measure(graph: &Graph, values: &[(ValueId, usize)], set: &CalibrationSet, config: &execution::Config) -> Result<Vec<Vec<Normal>>> {
    let mut sums: Vec<Vec<(f64, f64)>> = values.iter().map(|(_, channels)| vec![(0.0, 0.0); *channels]).collect();
    let mut places = vec![0.0f64; values.len()];
    if values.is_empty() {
        return Ok(Vec::new());
    }
    let wanted: Vec<ValueId> = values.iter().map(|(value, _)| *value).collect();
    observe(graph, &wanted, set, config, &mut |_, elements| {
        for ((sums, places), elements) in sums.iter_mut().zip(&mut places).zip(elements) {
            for row in elements.chunks_exact(sums.len()) {
                *places += 1.0;
                sums.iter_mut().zip(row).for_each(|(sum, x)| *sum = (sum.0 + f64::from(*x), sum.1 + f64::from(*x) * f64::from(*x)));
            }
        }
    })?;
    let normal = |(sum, square): &(f64, f64), places: f64| {
        let mean = sum / places;
        Normal { mean, deviation: (square / places - mean * mean).max(0.0).sqrt() }
    };
    Ok(sums.iter().zip(places).map(|(sums, places)| sums.iter().map(|sums| normal(sums, places)).collect()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::sketch::{Sketch, assert_same_function, noise};
    use crate::ops::Attributes;
    use crate::tensor::TensorData;

    /// Channels 1 and 3 of `a` never come near to zero.
    fn graph(kernel: usize, between: &str) -> Graph {
        let sketch = Sketch::new(&[0, 3, 8, 8]).constant("b", TensorData::vector(vec![0.1f32, 12.0, -0.2, 25.0]));
        // |Σ w t| ≤ √3 ‖w‖ for |t| < 1, which is less than three deviations.
        let sketch = sketch.weights("w", &[4, 3, 1, 1], 0.5).plain("t", "Tanh", "x").plain("a", "Conv", "t w b");
        let sketch = sketch.node("r", between, "a", Attributes::default());
        sketch.conv("y", "r", (4, 5), kernel, 1).outputs("y")
    }

    #[test]
    fn what_is_always_there_moves_into_biases_and_the_function_stays() {
        for between in ["Relu", "LeakyRelu"] {
            let mut after = graph(1, between);
            let before = after.clone();
            let (set, mut moments) = (noise(&after, 16), Moments::default());
            assert_eq!(absorb_biases(&mut after, &set, &mut moments, &Default::default()).unwrap(), 2);
            crate::graph::check(&after).unwrap();
            assert_same_function(&before, &after);
            let bias = after.constant(after.find_value("b").unwrap()).unwrap().to_f32().unwrap();
            assert!(bias[0] == 0.1 && bias[1] < 6.0 && bias[2] == -0.2 && bias[3] < 6.0, "{bias:?}");
            let reader = after.nodes().next_back().unwrap().1;
            assert_eq!(after.constant(reader.input(2).unwrap()).unwrap().shape(), [5]);
        }
    }

    #[test]
    fn batch_norm_says_how_much_without_samples() {
        let mut after = graph(1, "Relu");
        let (before, made) = (after.clone(), after.find_value("a").unwrap());
        let normal = |mean: f64| Normal { mean, deviation: 0.5 };
        let mut moments = Moments::default();
        moments.set(made, vec![normal(0.1), normal(5.5), normal(0.0), normal(1.5)]);
        assert_eq!(absorb_biases(&mut after, &noise(&before, 2), &mut moments, &Default::default()).unwrap(), 1);
        let bias = |graph: &Graph| graph.constant(graph.find_value("b").unwrap()).unwrap().to_f32().unwrap();
        assert_eq!(bias(&after)[1], bias(&before)[1] - 4.0);
        assert_eq!(moments.of(made).unwrap()[1], normal(1.5));
        assert_same_function(&before, &after);
    }

    #[test]
    fn padding_and_upper_bounds_do_not_shift() {
        let clipped = Sketch::new(&[0, 3, 8, 8]).scalar("low", 0.0).scalar("high", 6.0).constant("b", TensorData::vector(vec![9.0f32; 4]));
        let clipped = clipped.weights("w", &[4, 3, 1, 1], 0.1).plain("a", "Conv", "x w b").plain("r", "Clip", "a low high");
        for mut graph in [graph(3, "Relu"), clipped.conv("y", "r", (4, 5), 1, 1).outputs("y")] {
            let set = noise(&graph, 4);
            assert_eq!(absorb_biases(&mut graph, &set, &mut Moments::default(), &Default::default()).unwrap(), 0);
        }
    }
}
