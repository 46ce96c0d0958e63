//! Student and teacher on tensors: on graphics cards, with whole batches at once.

use std::collections::HashMap;
use std::ops::Range;

use candle_core::Tensor;

use super::classroom::{Classroom, Setup};
use super::gallery::Gallery;
use super::measure::Measure;
use super::pairs::Pair;
use super::sampling::{Source, View};
use crate::calibration::CalibrationSet;
use crate::error::Result;
use crate::execution::adam::Adam;
use crate::execution::candle::{Network, Pass, add_gradients, in_parts, is_out_of_memory, numbers, share_out, tensor_error};
use crate::execution::{Push, Tunable, Tuning};
use crate::graph::ValueId;
use crate::kernels::Isa;
use crate::progress::Progress;

/// Both networks on each device, with the samples of a batch shared out to all. Parameters move on the first one.
pub struct TensorClassroom {
    ranks: Vec<Rank>,
    sources: Vec<Source>,
    isa: Isa,
    /// Whether all students have the parameters of the first.
    is_spread: bool,
}

/// One device.
struct Rank {
    teacher: Network,
    student: Network,
    gallery: Gallery,
    /// Samples that go through at once.
    at_once: usize,
    loss: f64,
    /// Of the student's parameters.
    gradients: HashMap<ValueId, Tensor>,
}

impl TensorClassroom {
    /// # Errors
    /// If a device does not answer, or a value of a pair cannot be computed.
    pub fn new(setup: &Setup<'_>) -> Result<Self> {
        let rank = |device: &candle_core::Device| -> Result<Rank> {
            let (teacher, student) = setup.both(|graph, request| Network::compile(graph, request, device))?;
            Ok(Rank { teacher, student, gallery: Gallery::new(device), at_once: setup.batch.max(1), loss: 0.0, gradients: HashMap::new() })
        };
        let ranks = setup.execution.device.open()?.iter().map(rank).collect::<Result<Vec<_>>>()?;
        Ok(TensorClassroom { ranks, sources: setup.sources(), isa: setup.execution.isa, is_spread: true })
    }

    /// Copies the parameters of the first device to the others.
    fn spread(&mut self) -> Result<()> {
        if std::mem::replace(&mut self.is_spread, true) {
            return Ok(());
        }
        let [first, others @ ..] = self.ranks.as_mut_slice() else { return Ok(()) };
        others.iter_mut().try_for_each(|rank| rank.student.follow(&first.student))
    }

    /// Lets every device do `work` on parts of its samples; returns the sum of the losses.
    fn run(
        &mut self,
        set: &CalibrationSet,
        samples: &[View],
        progress: &dyn Progress,
        work: impl Fn(&mut Rank, Vec<Tensor>) -> Result<()> + Sync,
    ) -> Result<f64> {
        self.spread()?;
        let (sources, mut views) = (&self.sources, samples.to_vec());
        for rank in &mut self.ranks {
            (rank.loss, rank.gradients) = (0.0, HashMap::new());
        }
        share_out(&mut self.ranks, &mut views, |rank, views| {
            let mut at_once = rank.at_once;
            let done = in_parts(views.len(), &mut at_once, progress, |part: Range<usize>| {
                let done = rank.gallery.show(set, &views[part], sources).and_then(|images| work(rank, images));
                if done.as_ref().is_err_and(is_out_of_memory) {
                    rank.gallery.release();
                }
                done
            });
            rank.at_once = at_once;
            done
        })?;
        Ok(self.ranks.iter().map(|rank| rank.loss).sum())
    }
}

impl Classroom for TensorClassroom {
    fn student(&self) -> &dyn Tunable {
        &self.ranks[0].student
    }

    fn student_mut(&mut self) -> &mut dyn Tunable {
        self.is_spread = false;
        &mut self.ranks[0].student
    }

    fn tune(&mut self, tunings: Vec<Tuning>) -> Result<()> {
        self.ranks[0].student.tune(&tunings, self.isa)
    }

    fn gradients(&mut self, set: &CalibrationSet, batch: &[View], pairs: &[Pair], progress: &dyn Progress) -> Result<f64> {
        let weight = 1.0 / batch.len().max(1) as f64;
        self.run(set, batch, progress, |rank, images| rank.both_ways(images, pairs, weight))
    }

    fn step(&mut self, factor: f32, push: Push) -> Result<()> {
        self.is_spread = false;
        let [first, others @ ..] = self.ranks.as_mut_slice() else { return Ok(()) };
        for rank in others {
            add_gradients(&mut first.gradients, std::mem::take(&mut rank.gradients))?;
        }
        first.student.step(&first.gradients, factor, push)
    }

    fn optimizers(&self) -> Result<Vec<Adam>> {
        self.ranks[0].student.optimizers()
    }

    fn restore_optimizers(&mut self, optimizers: Vec<Adam>) -> Result<()> {
        self.ranks[0].student.restore_optimizers(&optimizers)
    }

    fn loss(&mut self, set: &CalibrationSet, samples: &[View], pairs: &[Pair], progress: &dyn Progress) -> Result<f64> {
        self.run(set, samples, progress, |rank, images| rank.measure(images, pairs))
    }
}

impl Rank {
    fn measure(&mut self, images: Vec<Tensor>, pairs: &[Pair]) -> Result<()> {
        let wanted = self.teacher.forward(images.clone(), false)?;
        let found = self.student.forward(images, false)?;
        self.loss += sum(&losses(pairs, &found, &wanted)?)?;
        Ok(())
    }

    fn both_ways(&mut self, images: Vec<Tensor>, pairs: &[Pair], weight: f64) -> Result<()> {
        let wanted = self.teacher.forward(images.clone(), false)?;
        let found = self.student.forward(images, true)?;
        let losses = losses(pairs, &found, &wanted)?;
        let seed = &mut |index: usize, found: &Tensor, before: Option<Tensor>| -> Result<Option<Tensor>> {
            let pair: &Pair = &pairs[index];
            let own = gradient(pair, found, wanted.read(pair.teacher)?, weight).map_err(tensor_error)?;
            before.map_or(Ok(own.clone()), |before| before + own).map(Some).map_err(tensor_error)
        };
        let gradients = self.student.backward(found, seed)?;
        add_gradients(&mut self.gradients, gradients.parameters)?;
        self.loss += sum(&losses)?;
        Ok(())
    }
}

/// The losses of all samples at all pairs, on the device.
fn losses(pairs: &[Pair], found: &Pass, wanted: &Pass) -> Result<Vec<Tensor>> {
    let loss = |pair: &Pair| loss(pair, found.read(pair.student)?, wanted.read(pair.teacher)?).map_err(tensor_error);
    pairs.iter().map(loss).collect()
}

/// Brings losses from the device, once for all pairs.
fn sum(losses: &[Tensor]) -> Result<f64> {
    if losses.is_empty() {
        return Ok(0.0);
    }
    Ok(numbers(&Tensor::cat(losses, 0).map_err(tensor_error)?)?.into_iter().map(f64::from).sum())
}

/// As [`Pair::loss`], for each sample.
fn loss(pair: &Pair, found: &Tensor, wanted: &Tensor) -> candle_core::Result<Tensor> {
    match pair.measure {
        Measure::Noise { energy } => (found - wanted)?.sqr()?.flatten_from(1)?.sum(1)? * (pair.share / energy),
        Measure::Divergence => {
            let (p, q) = (log_softmax(wanted)?, log_softmax(found)?);
            (p.exp()? * (&p - q)?)?.sum(1)? * pair.share
        }
    }
}

/// `weight` times the gradient of [`loss`] by what was found.
fn gradient(pair: &Pair, found: &Tensor, wanted: &Tensor, weight: f64) -> candle_core::Result<Tensor> {
    let factor = weight * pair.share;
    match pair.measure {
        Measure::Noise { energy } => (found - wanted)? * (2.0 * factor / energy),
        Measure::Divergence => ((log_softmax(found)?.exp()? - log_softmax(wanted)?.exp()?)? * factor)?.reshape(found.dims()),
    }
}

/// Of the scores of each sample: `[samples, classes]`.
fn log_softmax(scores: &Tensor) -> candle_core::Result<Tensor> {
    let scores = scores.flatten_from(1)?;
    let less = scores.broadcast_sub(&scores.max_keepdim(1)?)?;
    less.broadcast_sub(&less.exp()?.sum_keepdim(1)?.log()?)
}
