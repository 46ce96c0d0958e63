//! Student and teacher on tensors: on graphics cards, with whole batches at once.

use std::ops::Range;

use candle_core::Tensor;

use super::classroom::{Classroom, ParameterGradients, Setup};
use super::measure::Measure;
use super::pairs::Pair;
use super::sampling::{Source, View};
use crate::calibration::CalibrationSet;
use crate::error::Result;
use crate::execution::Tunable;
use crate::execution::candle::{Network, Pass, in_parts, numbers, share_out, tensor_error};
use crate::graph::ValueId;
use crate::ops::operator::Layout;
use crate::progress::Progress;

/// Both networks on each device, with the samples of a batch shared out to all.
pub struct TensorClassroom {
    ranks: Vec<Rank>,
    sources: Vec<Source>,
    parameters: Vec<ValueId>,
}

/// One device.
struct Rank {
    teacher: Network,
    student: Network,
    /// Samples that go through at once.
    at_once: usize,
    loss: f64,
    gradients: ParameterGradients,
}

impl TensorClassroom {
    /// # Errors
    /// If a device does not answer, or a value of a pair cannot be computed.
    pub fn new(setup: &Setup<'_>) -> Result<Self> {
        let rank = |device: &candle_core::Device| -> Result<Rank> {
            let (teacher, student) = setup.both(|graph, request| Network::compile(graph, request, device))?;
            Ok(Rank { teacher, student, at_once: setup.batch.max(1), loss: 0.0, gradients: ParameterGradients::new() })
        };
        let ranks = setup.execution.device.open()?.iter().map(rank).collect::<Result<Vec<_>>>()?;
        Ok(TensorClassroom { ranks, sources: setup.sources(), parameters: setup.parameters.to_vec() })
    }

    /// Copies the parameters of the first device to the others.
    fn spread(&mut self) -> Result<()> {
        let [first, others @ ..] = self.ranks.as_mut_slice() else { return Ok(()) };
        for rank in others {
            let mut changed = false;
            for value in &self.parameters {
                let (Some(from), Some(to)) = (first.student.parameter(*value), rank.student.parameter_mut(*value)) else { continue };
                if from != to {
                    to.copy_from_slice(from);
                    changed = true;
                }
            }
            if changed {
                rank.student.refresh()?;
            }
        }
        Ok(())
    }

    /// Lets every device do `work` on parts of its samples, and sums losses and gradients in the order of the devices.
    fn run(
        &mut self,
        set: &CalibrationSet,
        samples: &[View],
        progress: &dyn Progress,
        work: impl Fn(&mut Rank, Vec<Tensor>) -> Result<()> + Sync,
    ) -> Result<(f64, ParameterGradients)> {
        self.spread()?;
        let (sources, mut views) = (&self.sources, samples.to_vec());
        for rank in &mut self.ranks {
            (rank.loss, rank.gradients) = (0.0, ParameterGradients::new());
        }
        share_out(&mut self.ranks, &mut views, |rank, views| {
            let mut at_once = rank.at_once;
            let done = in_parts(views.len(), &mut at_once, progress, |part: Range<usize>| {
                let images = rank.upload(set, &views[part], sources)?;
                work(rank, images)
            });
            rank.at_once = at_once;
            done
        })?;
        let (mut loss, mut gradients) = (0.0, ParameterGradients::new());
        for rank in &mut self.ranks {
            loss += rank.loss;
            add(&mut gradients, std::mem::take(&mut rank.gradients));
        }
        Ok((loss, gradients))
    }
}

impl Classroom for TensorClassroom {
    fn student(&self) -> &dyn Tunable {
        &self.ranks[0].student
    }

    fn student_mut(&mut self) -> &mut dyn Tunable {
        &mut self.ranks[0].student
    }

    fn gradients(
        &mut self,
        set: &CalibrationSet,
        batch: &[View],
        pairs: &[Pair],
        progress: &dyn Progress,
    ) -> Result<(f64, ParameterGradients)> {
        let weight = 1.0 / batch.len().max(1) as f64;
        self.run(set, batch, progress, |rank, images| rank.both_ways(images, pairs, weight))
    }

    fn loss(&mut self, set: &CalibrationSet, samples: &[View], pairs: &[Pair], progress: &dyn Progress) -> Result<f64> {
        let (loss, _) = self.run(set, samples, progress, |rank, images| rank.measure(images, pairs))?;
        Ok(loss)
    }
}

impl Rank {
    fn upload(&self, set: &CalibrationSet, views: &[View], sources: &[Source]) -> Result<Vec<Tensor>> {
        let mut images = Vec::with_capacity(sources.len());
        for (index, (source, samples)) in sources.iter().zip(&set.inputs).enumerate() {
            let layout = Layout::row_major(self.student.input_shape(index));
            let (mut places, mut elements) = (Vec::new(), vec![0.0; views.len() * layout.len()]);
            for (view, memory) in views.iter().zip(elements.chunks_mut(layout.len().max(1))) {
                view.load(samples, source, &layout, &mut places, memory)?;
            }
            images.push(self.student.upload(index, elements)?);
        }
        Ok(images)
    }

    fn measure(&mut self, images: Vec<Tensor>, pairs: &[Pair]) -> Result<()> {
        let wanted = self.teacher.forward(images.clone(), false)?;
        let found = self.student.forward(images, false)?;
        self.loss += losses(pairs, &found, &wanted)?;
        Ok(())
    }

    fn both_ways(&mut self, images: Vec<Tensor>, pairs: &[Pair], weight: f64) -> Result<()> {
        let wanted = self.teacher.forward(images.clone(), false)?;
        let found = self.student.forward(images, true)?;
        let loss = losses(pairs, &found, &wanted)?;
        let seed = &mut |index: usize, found: &Tensor, before: Option<Tensor>| -> Result<Option<Tensor>> {
            let pair: &Pair = &pairs[index];
            let own = gradient(pair, found, wanted.read(pair.teacher)?, weight)?;
            before.map_or(Ok(own.clone()), |before| before + own).map(Some).map_err(tensor_error)
        };
        let gradients = self.student.backward(found, seed)?;
        self.loss += loss;
        add(&mut self.gradients, gradients.parameters);
        Ok(())
    }
}

fn add(total: &mut ParameterGradients, more: ParameterGradients) {
    for (value, gradient) in more {
        let sum = total.entry(value).or_insert_with(|| vec![0.0; gradient.len()]);
        sum.iter_mut().zip(gradient).for_each(|(sum, g)| *sum += g);
    }
}

/// The losses of all samples at all pairs. Sums of squares are brought from the device once for all pairs.
fn losses(pairs: &[Pair], found: &Pass, wanted: &Pass) -> Result<f64> {
    let (mut total, mut factors, mut sums) = (0.0, Vec::new(), Vec::new());
    for pair in pairs {
        let (found, wanted) = (found.read(pair.student)?, wanted.read(pair.teacher)?);
        match pair.measure {
            Measure::Noise { energy } => {
                let squares = (found - wanted).and_then(|error| error.sqr()?.flatten_from(1)?.sum(1)).map_err(tensor_error)?;
                factors.push((pair.share / energy, squares.elem_count()));
                sums.push(squares);
            }
            Measure::Divergence => total += scores(pair, found, wanted)?.map(|(found, wanted)| pair.loss(&found, &wanted)).sum::<f64>(),
        }
    }
    if sums.is_empty() {
        return Ok(total);
    }
    let squares = numbers(&Tensor::cat(&sums, 0).map_err(tensor_error)?)?;
    let mut squares = squares.iter();
    for (factor, samples) in factors {
        total += factor * squares.by_ref().take(samples).map(|square| f64::from(*square)).sum::<f64>();
    }
    Ok(total)
}

/// Scores of student and teacher, sample by sample.
fn scores(pair: &Pair, found: &Tensor, wanted: &Tensor) -> Result<impl Iterator<Item = (Vec<f32>, Vec<f32>)> + use<>> {
    debug_assert!(pair.measure == Measure::Divergence);
    let rows = |scores: &Tensor| scores.flatten_from(1).and_then(|scores| scores.to_vec2::<f32>()).map_err(tensor_error);
    Ok(rows(found)?.into_iter().zip(rows(wanted)?))
}

/// `weight` times the gradient of the loss at a pair.
fn gradient(pair: &Pair, found: &Tensor, wanted: &Tensor, weight: f64) -> Result<Tensor> {
    match pair.measure {
        Measure::Noise { energy } => {
            let factor = 2.0 * weight * pair.share / energy;
            (found - wanted).and_then(|error| error * factor).map_err(tensor_error)
        }
        Measure::Divergence => {
            let mut elements = Vec::with_capacity(found.elem_count());
            for (found, wanted) in scores(pair, found, wanted)? {
                let mut gradient = vec![0.0; found.len()];
                pair.add_gradient(weight, &found, &wanted, &mut gradient);
                elements.extend(gradient);
            }
            Tensor::from_vec(elements, found.dims(), found.device()).map_err(tensor_error)
        }
    }
}
