//! Gradients of weights: sums over positions of outer products, on the same addresses as the forward sum.

use std::sync::Arc;

use super::indirect::{Block, Indirection, Run, blocks, even_parts};
use super::isa::Isa;
use super::tile::{OuterCall, Tiles};

/// Positions that are summed before the next tile: few enough for both operands to stay in the nearest cache.
const CHUNK: usize = 256;

/// `weights[k][j] += Σ_p source[source[p] + k'] · gradient[target[p] + j]`, the sums in a fixed order.
pub struct OuterSweep {
    addresses: Arc<Indirection>,
    runs: Vec<Run>,
    blocks: Vec<Block>,
    tiles: Tiles,
    source_reach: usize,
    target_reach: usize,
    weight_reach: usize,
}

impl OuterSweep {
    /// The weights' columns must be contiguous in `addresses`.
    pub fn new(addresses: Arc<Indirection>, isa: Isa) -> Self {
        let tiles = Tiles::of(isa, addresses.width);
        let last_row = |run: &Run| run.weight as usize + (run.length.max(1) as usize - 1) * addresses.row_pitch;
        let rows = addresses.runs.iter().map(last_row).max();
        OuterSweep {
            runs: addresses.joined_runs(true),
            blocks: blocks(addresses.width, tiles.lanes, tiles.outer_vectors(addresses.width)),
            tiles,
            source_reach: addresses.source_reach(),
            target_reach: addresses.target_reach(),
            weight_reach: rows.map_or(0, |row| row + (addresses.group - 1) * addresses.weight_shift + addresses.width),
            addresses,
        }
    }

    /// Adds the gradient to `weights`.
    ///
    /// # Panics
    /// If a slice is shorter than the addresses reach.
    pub fn run(&self, source: &[f32], gradient: &[f32], weights: &mut [f32]) {
        assert!(source.len() >= self.source_reach && gradient.len() >= self.target_reach && weights.len() >= self.weight_reach);
        let total = self.addresses.targets.len();
        for first in (0..total).step_by(CHUNK) {
            for group in 0..self.addresses.group {
                for block in &self.blocks {
                    for run in &self.runs {
                        self.run_tiles(source, gradient, weights, (first, CHUNK.min(total - first)), group, *block, *run);
                    }
                }
            }
        }
    }

    #[allow(clippy::too_many_arguments)]
    fn run_tiles(
        &self,
        source: &[f32],
        gradient: &[f32],
        weights: &mut [f32],
        (first, positions): (usize, usize),
        group: usize,
        block: Block,
        run: Run,
    ) {
        let addresses = &self.addresses;
        let column = self.tiles.outers[block.vectors - 1];
        let mut row = 0;
        for rows in even_parts(run.length as usize, column.len()) {
            let weight = run.weight as usize + row * addresses.row_pitch + group * addresses.weight_shift + block.column;
            let call = OuterCall {
                source: source[group * addresses.source_shift + run.source as usize + row..].as_ptr(),
                sources: addresses.sources[first..].as_ptr(),
                gradient: gradient[group * addresses.target_shift + block.column..].as_ptr(),
                targets: addresses.targets[first..].as_ptr(),
                positions,
                weights: weights[weight..].as_mut_ptr(),
                row_pitch: addresses.row_pitch,
                lanes: block.lanes,
            };
            // SAFETY: `run` checked the reach of all addresses in all three slices, and `Tiles::of` hands out functions
            // of available instruction sets only.
            unsafe { column[rows - 1](&call) };
            row += rows;
        }
    }
}
