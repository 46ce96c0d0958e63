//! Coarse steps first: where a network takes smaller pictures too, they are moved there before they are moved at full size.
//!
//! Paper: Yin et al. 2020, "Dreaming to Distill", arXiv:1912.08795, appendix: half the resolution first for ImageNet. There
//! the coarse image replaces the fine one; here only its change does, so that edges of the start stay sharp.

use super::Config;
use super::input::{Input, PlanePlace};
use crate::error::Result;
use crate::graph::{Dim, Graph};
use crate::ops::operator::Layout;
use crate::passes::single_sample;

/// Shortest side of a picture on which steps are worth anything.
const LEAST_SIDE: usize = 48;

/// One size of the pictures, and the network for it.
pub struct Stage {
    pub graph: Graph,
    pub inputs: Vec<Input>,
    /// Full size over this size; 1 for the last stage.
    pub factor: usize,
    pub steps: usize,
}

impl Stage {
    /// The stages of a synthesis, coarse first, as many of `config.method.stages` as the network allows. `graph` takes one
    /// sample. All together cost as much as `config.steps` at full size: a stage of half the size takes as many steps, each
    /// for a quarter of the work, and the last one takes what is left.
    pub fn plan(graph: &Graph, inputs: &[Input], config: &Config) -> Vec<Stage> {
        let coarse = (1..config.method.stages).rev().filter_map(|level| coarse(graph, inputs, 1 << level, config.steps));
        let mut stages: Vec<Stage> = coarse.collect();
        let spent: usize = stages.iter().map(|stage| stage.steps.div_ceil(stage.factor * stage.factor)).sum();
        let steps = config.steps.saturating_sub(spent).max(config.steps.min(1));
        stages.push(Stage { graph: graph.clone(), inputs: inputs.to_vec(), factor: 1, steps });
        stages
    }

    /// Samples of full size at the size of this stage.
    pub fn shrink_all(&self, fine: Vec<Vec<Vec<f32>>>, full: &[Input]) -> Vec<Vec<Vec<f32>>> {
        if self.factor == 1 { fine } else { fine.iter().map(|sample| self.shrink(sample, full)).collect() }
    }

    /// Samples of full size with what was `moved` at the size of this stage.
    ///
    /// # Errors
    /// If `fine`, which is asked for only where it is needed, cannot be read.
    pub fn grow_all(
        &self,
        fine: impl FnOnce() -> Result<Vec<Vec<Vec<f32>>>>,
        moved: Vec<Vec<Vec<f32>>>,
        full: &[Input],
    ) -> Result<Vec<Vec<Vec<f32>>>> {
        if self.factor == 1 {
            return Ok(moved);
        }
        let mut fine = fine()?;
        fine.iter_mut().zip(moved).for_each(|(sample, moved)| self.grow(sample, &moved, full));
        Ok(fine)
    }

    /// One sample of full size at the size of this stage.
    pub fn shrink(&self, fine: &[Vec<f32>], full: &[Input]) -> Vec<Vec<f32>> {
        let mut coarse: Vec<Vec<f32>> = self.inputs.iter().map(|input| vec![0.0; input.len()]).collect();
        for (index, (small, large)) in self.planes(full).into_iter().enumerate() {
            if small.is_empty() {
                coarse[index].copy_from_slice(&fine[index]);
            }
            for (small, large) in small.into_iter().zip(large) {
                let pixels: Vec<f32> = large.offsets().map(|at| fine[index][at]).collect();
                let means = means(&pixels, large.width, self.factor);
                small.offsets().zip(means).for_each(|(at, mean)| coarse[index][at] = mean);
            }
        }
        coarse
    }

    /// Adds to a sample of full size what `moved` is more than the sample was at the size of this stage, within its range.
    pub fn grow(&self, fine: &mut [Vec<f32>], moved: &[Vec<f32>], full: &[Input]) {
        let before = self.shrink(fine, full);
        for (index, (small, large)) in self.planes(full).into_iter().enumerate() {
            if small.is_empty() {
                fine[index].copy_from_slice(&moved[index]);
            }
            for (small, large) in small.into_iter().zip(large) {
                let change: Vec<f32> = small.offsets().map(|at| moved[index][at] - before[index][at]).collect();
                let change = enlarge(&change, small.width, self.factor);
                large.offsets().zip(change).for_each(|(at, by)| fine[index][at] = (fine[index][at] + by).clamp(large.low, large.high));
            }
        }
    }

    /// Channels at the size of this stage and at full size, per input; none where an input is no picture.
    fn planes(&self, full: &[Input]) -> Vec<(Vec<PlanePlace>, Vec<PlanePlace>)> {
        let planes = |input: &Input| input.planes(&Layout::row_major(&input.shape));
        self.inputs.iter().zip(full).map(|(small, large)| (planes(small), planes(large))).collect()
    }
}

/// The network for pictures whose sides are `factor` times shorter, if it takes such and makes outputs of the same shapes.
fn coarse(graph: &Graph, inputs: &[Input], factor: usize, steps: usize) -> Option<Stage> {
    let (mut graph, outputs, mut inputs) = (graph.clone(), shapes(graph), inputs.to_vec());
    for (value, input) in graph.inputs.clone().into_iter().zip(&mut inputs) {
        let Some(picture) = input.picture() else { continue };
        for dim in &picture.dims[1..] {
            let side = &mut input.shape[*dim];
            if *side % factor != 0 || *side / factor < LEAST_SIDE {
                return None;
            }
            *side /= factor;
        }
        let shape = input.shape.iter().map(|size| Dim::Known(*size)).collect();
        graph.set_facts(value, graph.value(value).data_type, Some(shape));
    }
    let graph = single_sample(&graph).ok()?;
    (inputs.iter().any(|input| input.picture().is_some()) && shapes(&graph) == outputs).then_some(Stage { graph, inputs, factor, steps })
}

fn shapes(graph: &Graph) -> Vec<Option<Vec<Dim>>> {
    graph.outputs.iter().map(|output| graph.value(*output).shape.clone()).collect()
}

/// Means of all squares of `side`².
fn means(pixels: &[f32], width: usize, side: usize) -> Vec<f32> {
    let (columns, rows) = (width / side, pixels.len() / width / side);
    let mean = |at: usize| {
        let corner = at / columns * side * width + at % columns * side;
        let square = (0..side).flat_map(|y| (0..side).map(move |x| corner + y * width + x));
        square.map(|at| pixels[at]).sum::<f32>() / (side * side) as f32
    };
    (0..rows * columns).map(mean).collect()
}

/// Every pixel as `side`² ones, bilinear between the middles of the old ones.
fn enlarge(pixels: &[f32], width: usize, side: usize) -> Vec<f32> {
    let height = pixels.len() / width;
    let between = |at: usize, size: usize| {
        let place = ((at as f32 + 0.5) / side as f32 - 0.5).clamp(0.0, (size - 1) as f32);
        (place as usize, (place as usize + 1).min(size - 1), place.fract())
    };
    let mut large = Vec::with_capacity(pixels.len() * side * side);
    for y in 0..height * side {
        let (top, bottom, down) = between(y, height);
        for x in 0..width * side {
            let (left, right, across) = between(x, width);
            let row = |y: usize| pixels[y * width + left] * (1.0 - across) + pixels[y * width + right] * across;
            large.push(row(top) * (1.0 - down) + row(bottom) * down);
        }
    }
    large
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::execution;
    use crate::graph::sketch::Sketch;
    use crate::progress::Silent;
    use crate::synthesis::method::Method;
    use crate::synthesis::synthesize;

    /// The residual network, for pictures of 96².
    fn network() -> Graph {
        let sketch = Sketch::new(&[0, 3, 96, 96]).conv("c1", "x", (3, 8), 3, 2).norm("n1", "c1", 8).plain("r1", "Relu", "n1");
        let sketch = sketch.conv("c2", "r1", (8, 8), 3, 2).norm("n2", "c2", 8).plain("r2", "Relu", "n2");
        let sketch = sketch.plain("p", "GlobalAveragePool", "r2").plain("f", "Flatten", "p").weights("g_w", &[8, 4], 0.4);
        sketch.weights("g_b", &[4], 0.1).plain("y", "Gemm", "f g_w g_b").outputs("y")
    }

    fn config(stages: usize, steps: usize) -> Config {
        let method = Method { stages, ..Method::default() };
        let (input_range, execution) = ("-2,2".parse().unwrap(), execution::Config::default());
        Config { samples: 6, batch: 4, steps, sufficient: None, seed: 0, input_range, method, execution }
    }

    #[test]
    fn shrinking_undoes_enlarging_of_planes_that_are_linear() {
        let pixels: Vec<f32> = (0..24).map(|at| (at % 6) as f32 + 0.5 * (at / 6) as f32).collect();
        let again = means(&enlarge(&pixels, 6, 2), 12, 2);
        for (at, (a, b)) in pixels.iter().zip(&again).enumerate() {
            let edge = at % 6 == 0 || at % 6 == 5 || at / 6 == 0 || at / 6 == 3;
            assert!((a - b).abs() < if edge { 0.3 } else { 1e-5 }, "{at}: {a} became {b}");
        }
    }

    #[test]
    fn coarse_steps_come_first_and_cost_the_same() {
        let graph = single_sample(&network()).unwrap();
        let input = |side: usize| Input::new("x", vec![1, 3, side, side], super::super::PixelRange::imagenet());
        let sizes = |stages: usize| {
            let found = Stage::plan(&graph, &[input(96)], &config(stages, 40));
            found.iter().map(|stage| (stage.inputs[0].shape[2], stage.steps)).collect::<Vec<_>>()
        };
        assert_eq!(sizes(1), [(96, 40)]);
        assert_eq!(sizes(2), [(48, 40), (96, 30)]);
        assert_eq!(sizes(3), sizes(2));
    }

    #[test]
    fn coarse_steps_reach_further_at_the_same_cost_on_any_number_of_threads() {
        let on = |threads: usize, stages: usize| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| synthesize(&network(), &config(stages, 12), &Silent).unwrap())
        };
        let (one, two) = (on(2, 1), on(1, 2));
        assert!(two.set.inputs == on(3, 2).set.inputs);
        let (once, twice) = (one.loss.unwrap().1, two.loss.unwrap().1);
        assert!(twice < once, "{once} in one stage, {twice} in two");
        let (low, high) = two.set.inputs[0].range().unwrap();
        assert!(-2.0 <= low && high <= 2.0);
    }
}
