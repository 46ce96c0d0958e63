//! How much work a model gets.

use crate::distillation::Steps;
use crate::execution;
use crate::graph::Graph;
use crate::passes::macs;
use crate::synthesis;
use crate::synthesis::input_range::InputRange;
use crate::synthesis::method::Method;

/// What the user says of the amount of work.
#[derive(Clone, Copy, Debug, Default)]
pub struct Wishes {
    pub samples: Option<usize>,
    pub steps: Option<usize>,
}

/// Work that a model gets, from what a sample costs: budgets are steps, never clocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Budget {
    pub images: usize,
    pub batch: usize,
    pub steps: usize,
    pub distill_steps: Steps,
    /// For each block.
    pub reconstruct_steps: usize,
}

/// Samples of one distillation step.
pub(super) const DISTILL_BATCH: usize = 16;

/// What each node beyond [`FREE_NODES`] costs beside its multiplications, in multiplications.
const OF_A_NODE: f64 = 5e4;
const FREE_NODES: usize = 1000;

impl Budget {
    /// For `sample`, a network for one sample. A large one is not tuned.
    ///
    /// A step of synthesis costs about four multiplications' worth for each one of the model, a step of distillation eight.
    pub fn of(sample: &Graph) -> Budget {
        let macs = macs(sample).max(1) as f64 + OF_A_NODE * sample.node_count().saturating_sub(FREE_NODES) as f64;
        let images = if macs < 3e8 {
            256
        } else if macs < 1e9 {
            128
        } else {
            64
        };
        let images = if macs < 3e7 { 2 * images } else { images };
        let steps = (1e12 / (macs * images as f64)).clamp(50.0, 200.0) as usize;
        let distill = |total: f64, least: f64, most: f64| (total / (macs * DISTILL_BATCH as f64)).clamp(least, most) as usize;
        let distill_steps = match sample.is_large() {
            true => Steps::Exactly(0),
            false => Steps::Between { least: distill(3e11, 30.0, 1500.0), most: distill(6e11, 120.0, 1500.0) },
        };
        let reconstruct_steps = (4e11 / (macs * 2.0 * DISTILL_BATCH as f64)).clamp(50.0, 300.0) as usize;
        Budget { images, batch: 64, steps, distill_steps, reconstruct_steps }
    }

    /// More of what weights of 4 bits need: four times the images, since a student that must change much learns few by heart,
    /// and twice the steps.
    pub fn for_four_bits(self) -> Budget {
        let distill_steps = match self.distill_steps {
            Steps::Between { least, most } => Steps::Between { least: 2 * least, most: 2 * most },
            exactly => exactly,
        };
        Budget { images: 4 * self.images, distill_steps, ..self }
    }

    /// A synthesis with `method`, as much of it as is wished for or fits the budget; seed, input range and execution are the
    /// usual ones.
    pub fn synthesis(&self, wishes: Wishes, method: &Method) -> synthesis::Config {
        let batch = method.batch.unwrap_or(self.batch);
        synthesis::Config {
            samples: wishes.samples.unwrap_or(self.images),
            batch,
            steps: wishes.steps.unwrap_or(self.steps),
            sufficient: wishes.steps.is_none().then(|| synthesis::Config::sufficient(batch)),
            seed: 0,
            input_range: InputRange::default(),
            method: method.clone(),
            execution: execution::Config::default(),
        }
    }
}
