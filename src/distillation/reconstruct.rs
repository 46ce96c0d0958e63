//! Tuning a student block by block, from its inputs to its outputs.

use super::blocks::{Block, find_blocks};
use super::pairs::{Pair, ends, equal_pairs};
use super::parameters::Snapshot;
use super::soften::{adopt, insert_drops, soften};
use super::trainer::{Goal, Trainer, TrainerState};
use super::{Config, Lesson, hold_out};
use crate::calibration::CalibrationSet;
use crate::checkpoint::Reached;
use crate::error::Result;
use crate::execution::adam::Moment;
use crate::graph::Graph;
use crate::progress::Progress;

/// What reconstruction did.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Reconstruction {
    pub blocks: usize,
    /// Blocks that held-out samples found better than with weights rounded to nearest.
    pub better: usize,
    /// For each block.
    pub steps: usize,
}

/// Learns, block by block, which way each weight is rounded, with the scales of weights and activations and the biases, so
/// that the block's output comes near to the teacher's while half of the activations before and in it are left
/// unquantized at random. A block that held-out samples do not find better is rounded to nearest.
///
/// Paper: Li et al. 2021 (BRECQ), arXiv:2102.05426; rounding of AdaRound, scales of GENIE-M (arXiv:2212.04780), dropping
/// of QDrop (arXiv:2203.05740). Blocks are cut from the graph, and the error of a block is its noise-to-signal ratio.
///
/// # Errors
/// If either graph cannot be computed.
pub fn reconstruct(lesson: Lesson<'_>, graph: &mut Graph, config: &Config, progress: &dyn Progress) -> Result<Reconstruction> {
    let Lesson { teacher, student, .. } = lesson;
    let (train, check) = hold_out(lesson.set);
    let mut soft = graph.clone();
    let softened = soften(&mut soft, student)?;
    let drop_state = insert_drops(&mut soft, student)?;
    let blocks = find_blocks(teacher, &softened);
    let steps = config.steps.after(1.0);
    progress.begin("reconstruct", steps * blocks.len());
    let mut better = 0;
    for (index, block) in blocks.iter().enumerate() {
        let pairs = block_pairs(teacher, &soft, block, &check, config)?;
        let goal = Goal { pairs, drop_state: Some(drop_state), stream: (3 << 32) + index as u64 };
        let mut trainer = Trainer::new(Lesson { student: &block.student, ..lesson }, &soft, goal, config)?;
        let soft_start = trainer.snapshot()?;
        trainer.harden()?;
        let (before, nearest) = (trainer.loss(&check, progress)?, trainer.snapshot()?);
        trainer.restore(&soft_start)?;
        let name = format!("block {} of {}", index + 1, blocks.len());
        learn(&mut trainer, &train, steps, &name, progress)?;
        match trainer.loss(&check, progress)? < before {
            true => better += 1,
            false => trainer.restore(&nearest)?,
        }
        trainer.store(&mut soft)?;
    }
    progress.end();
    adopt(graph, student, &soft, &softened)?;
    Ok(Reconstruction { blocks: blocks.len(), better, steps })
}

/// Takes `steps` on a block, or what is left of them, and hardens what came of it.
fn learn(trainer: &mut Trainer, train: &CalibrationSet, steps: usize, name: &str, progress: &dyn Progress) -> Result<()> {
    let (unit, mut first) = (progress.unit(), 0);
    match unit.kept::<(usize, TrainerState), Snapshot>()? {
        Some(Reached::End(hardened)) => {
            trainer.check(&hardened)?;
            trainer.restore(&hardened)?;
            return Ok(());
        }
        Some(Reached::Step((step, state))) => {
            trainer.go_on_from(state)?;
            first = step;
        }
        None => {}
    }
    for step in first..steps {
        let loss = trainer.step(train, Moment { step, of: steps }, progress)?;
        unit.keep(|| Ok((step + 1, trainer.state()?)))?;
        progress.loss(loss);
        progress.step(&format!("{name}, loss {loss:.5}"));
        progress.check()?;
    }
    trainer.harden()?;
    unit.finish(&trainer.snapshot()?)
}

fn block_pairs(teacher: &Graph, soft: &Graph, block: &Block, set: &CalibrationSet, config: &Config) -> Result<Vec<Pair>> {
    let values = block.end.map_or_else(|| ends(teacher, soft), |end| vec![(end, end)]);
    equal_pairs(teacher, &values, set, &config.execution)
}
