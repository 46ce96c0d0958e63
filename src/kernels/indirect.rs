//! Sums of products over indirect addresses: one loop for dense convolution in both directions and for matrix products.
//!
//! `output[target[p] + j] (+)= bias[j] + Σ_k source[source[p] + k'] · weights[k][j]`, where `k'` runs through a few
//! contiguous runs. Weights are packed in panels of a few vectors of columns.

use std::sync::Arc;

use super::isa::Isa;
use super::tile::{Tile, TileCall, Tiles};
use super::window::{Direction, Frame, Slide, Window};

/// Contiguous source elements that meet consecutive rows of the weights.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Run {
    pub source: u32,
    pub length: u32,
    /// Offset of the first row's first element in the unpacked weights.
    pub weight: u32,
}

/// Addresses of one sliding sum, the same for every group but for a shift.
#[derive(Clone, Debug)]
pub struct Indirection {
    /// Per output position: where it reads.
    pub sources: Vec<u32>,
    /// Per output position: where it writes.
    pub targets: Vec<u32>,
    pub runs: Vec<Run>,
    /// Columns of the weights of one group.
    pub width: usize,
    /// Distance between rows of the unpacked weights.
    pub row_pitch: usize,
    /// Distance between columns of the unpacked weights.
    pub column_pitch: usize,
    pub group: usize,
    pub source_shift: usize,
    pub target_shift: usize,
    pub weight_shift: usize,
}

impl Indirection {
    /// The addresses of `slide` in a source laid out as `frame`.
    pub fn slide(window: &Window, direction: Direction, slide: &Slide, frame: &Frame) -> Self {
        let (target, target_channels) = window.target(direction);
        let (channels, features) = (window.channels / window.group, window.features / window.group);
        let (depth, width) = if direction == Direction::ToMap { (channels, features) } else { (features, channels) };
        let (row_pitch, column_pitch) = if direction == Direction::ToMap { (window.features, 1) } else { (1, window.features) };
        let strides = frame.strides();
        let first = |axis: usize| slide[axis].taps.first().map_or(0, |tap| tap.offset);
        let target_strides = [target[1] * target[2] * target_channels, target[2] * target_channels, target_channels];
        let at = |axis: usize, position: usize| (slide[axis].start + slide[axis].step * position) * target_strides[axis];
        let from = |axis: usize, position: usize| {
            ((slide[axis].source_step * position) as isize + first(axis) - frame.origin[axis]) as usize * strides[axis]
        };
        let counts = [slide[0].count, slide[1].count, slide[2].count];
        let empty = slide.iter().any(|axis| axis.taps.is_empty());
        let runs = taps(slide).map(|taps| Run {
            source: (0..3).map(|axis| (taps[axis].offset - first(axis)) as usize * strides[axis]).sum::<usize>() as u32,
            length: depth as u32,
            weight: (((taps[0].index * window.kernel[1] + taps[1].index) * window.kernel[2] + taps[2].index) * channels * window.features)
                as u32,
        });
        Indirection {
            sources: positions(counts, |axis, position| if empty { 0 } else { from(axis, position) }),
            targets: positions(counts, at),
            runs: runs.collect(),
            width,
            row_pitch,
            column_pitch,
            group: window.group,
            source_shift: depth,
            target_shift: width,
            weight_shift: features,
        }
    }

    /// `[rows, depth] · [depth, columns]`; the weights' pitches are given, everything else is row-major.
    pub fn matrix(rows: usize, depth: usize, columns: usize, row_pitch: usize, column_pitch: usize) -> Self {
        Indirection {
            sources: (0..rows).map(|row| (row * depth) as u32).collect(),
            targets: (0..rows).map(|row| (row * columns) as u32).collect(),
            runs: vec![Run { source: 0, length: depth as u32, weight: 0 }],
            width: columns,
            row_pitch,
            column_pitch,
            group: 1,
            source_shift: 0,
            target_shift: 0,
            weight_shift: 0,
        }
    }

    /// Rows of the weights.
    pub fn depth(&self) -> usize {
        self.runs.iter().map(|run| run.length as usize).sum()
    }

    /// Source elements that must exist.
    pub fn source_reach(&self) -> usize {
        let far = self.runs.iter().map(|run| (run.source + run.length) as usize).max();
        far.map_or(0, |far| far + largest(&self.sources) + (self.group - 1) * self.source_shift)
    }

    /// Target elements that must exist.
    pub fn target_reach(&self) -> usize {
        if self.targets.is_empty() { 0 } else { largest(&self.targets) + (self.group - 1) * self.target_shift + self.width }
    }

    /// The runs with neighbours joined that are contiguous in the source and, if `weights` asks so, in the weights.
    pub fn joined_runs(&self, weights: bool) -> Vec<Run> {
        let mut joined: Vec<Run> = Vec::new();
        for run in &self.runs {
            match joined.last_mut() {
                Some(last) if self.continues(last, run, weights) => last.length += run.length,
                _ => joined.push(*run),
            }
        }
        joined
    }

    fn continues(&self, last: &Run, next: &Run, weights: bool) -> bool {
        let follows = last.weight as usize + last.length as usize * self.row_pitch == next.weight as usize;
        last.source + last.length == next.source && (follows || !weights)
    }
}

fn largest(offsets: &[u32]) -> usize {
    offsets.iter().max().map_or(0, |offset| *offset as usize)
}

fn positions(counts: [usize; 3], offset: impl Fn(usize, usize) -> usize) -> Vec<u32> {
    let mut offsets = Vec::with_capacity(counts.iter().product());
    for depth in 0..counts[0] {
        for height in 0..counts[1] {
            let row = offset(0, depth) + offset(1, height);
            offsets.extend((0..counts[2]).map(|width| (row + offset(2, width)) as u32));
        }
    }
    offsets
}

fn taps(slide: &Slide) -> impl Iterator<Item = [super::window::Tap; 3]> {
    slide[0].taps.iter().flat_map(move |depth| {
        slide[1].taps.iter().flat_map(move |height| slide[2].taps.iter().map(move |width| [*depth, *height, *width]))
    })
}

/// Columns that are computed together: `vectors` vectors, the last with `lanes` lanes in use.
#[derive(Clone, Copy, Debug)]
pub struct Block {
    pub column: usize,
    pub vectors: usize,
    pub lanes: usize,
}

/// An [`Indirection`] ready to run on one instruction set.
pub struct Sweep {
    addresses: Arc<Indirection>,
    runs: Vec<Run>,
    blocks: Vec<Block>,
    tiles: Tiles,
    depth: usize,
    source_reach: usize,
    target_reach: usize,
}

impl Sweep {
    pub fn new(addresses: Arc<Indirection>, isa: Isa) -> Self {
        let tiles = Tiles::of(isa, addresses.width);
        Sweep {
            runs: addresses.joined_runs(false),
            blocks: blocks(addresses.width, tiles.lanes, tiles.sum_vectors(addresses.width, addresses.targets.len())),
            tiles,
            depth: addresses.depth(),
            source_reach: addresses.source_reach(),
            target_reach: addresses.target_reach(),
            addresses,
        }
    }

    /// Elements that [`Sweep::pack`] writes.
    pub fn packed_len(&self) -> usize {
        self.panel_len() * self.addresses.group
    }

    /// Output positions that one run writes.
    pub fn positions(&self) -> usize {
        self.addresses.targets.len()
    }

    fn panel_len(&self) -> usize {
        self.addresses.width.div_ceil(self.tiles.lanes) * self.tiles.lanes * self.depth
    }

    /// Packs `scale · weights` for [`Sweep::run`].
    pub fn pack(&self, weights: &[f32], scale: f32, packed: &mut [f32]) {
        let mut panels = packed;
        for group in 0..self.addresses.group {
            for block in &self.blocks {
                let (panel, rest) = panels.split_at_mut(block.vectors * self.tiles.lanes * self.depth);
                self.pack_block(&weights[group * self.addresses.weight_shift..], *block, scale, panel);
                panels = rest;
            }
        }
    }

    fn pack_block(&self, weights: &[f32], block: Block, scale: f32, panel: &mut [f32]) {
        let columns = (block.vectors - 1) * self.tiles.lanes + block.lanes;
        let rows = self.addresses.runs.iter().flat_map(|run| (0..run.length as usize).map(|row| (run.weight as usize, row)));
        for ((start, row), packed) in rows.zip(panel.chunks_exact_mut(block.vectors * self.tiles.lanes)) {
            let first = start + row * self.addresses.row_pitch + block.column * self.addresses.column_pitch;
            let (used, padding) = packed.split_at_mut(columns);
            for (column, value) in used.iter_mut().enumerate() {
                *value = scale * weights[first + column * self.addresses.column_pitch];
            }
            padding.fill(0.0);
        }
    }

    /// Writes, or adds to, every target of `output`. `bias` has one value per column of all groups, or is empty.
    ///
    /// # Panics
    /// If a slice is shorter than the addresses reach.
    pub fn run(&self, source: &[f32], packed: &[f32], bias: &[f32], accumulate: bool, output: &mut [f32]) {
        let addresses = &self.addresses;
        assert!(source.len() >= self.source_reach && output.len() >= self.target_reach && packed.len() >= self.packed_len());
        assert!(bias.is_empty() || bias.len() >= addresses.group * addresses.width);
        let mut panel = 0;
        for group in 0..addresses.group {
            for block in &self.blocks {
                let bias = bias.get(group * addresses.width + block.column..).filter(|rest| !rest.is_empty());
                let mut call = TileCall {
                    // SAFETY: the group's shift is part of `source_reach`, which lies within the slice.
                    source: unsafe { source.as_ptr().add(if self.runs.is_empty() { 0 } else { group * addresses.source_shift }) },
                    sources: addresses.sources.as_ptr(),
                    targets: addresses.targets.as_ptr(),
                    runs: self.runs.as_ptr(),
                    run_count: self.runs.len(),
                    weights: packed[panel..].as_ptr(),
                    bias: bias.map_or(std::ptr::null(), <[f32]>::as_ptr),
                    // SAFETY: group and column are part of `target_reach` unless there is no target at all.
                    output: unsafe {
                        output.as_mut_ptr().add(if self.target_reach == 0 { 0 } else { group * addresses.target_shift + block.column })
                    },
                    lanes: block.lanes,
                    accumulate,
                };
                self.run_block(&mut call, *block);
                panel += block.vectors * self.tiles.lanes * self.depth;
            }
        }
    }

    fn run_block(&self, call: &mut TileCall, block: Block) {
        let column: &[Tile] = self.tiles.sums[block.vectors - 1];
        let total = self.addresses.targets.len();
        let mut left = total;
        for count in even_parts(total, column.len()) {
            // SAFETY: `run` checked that every address of every position lies within its slice, and `Tiles::of` hands
            // out functions of available instruction sets only.
            unsafe {
                column[count - 1](call);
                call.sources = call.sources.add(count);
                call.targets = call.targets.add(count);
            }
            left -= count;
        }
        debug_assert_eq!(left, 0);
    }
}

/// `total` cut into as few parts of at most `largest` as possible, sizes as even as possible.
pub fn even_parts(total: usize, largest: usize) -> impl Iterator<Item = usize> {
    let parts = total.div_ceil(largest);
    (0..parts).map(move |part| (part + 1) * total / parts - part * total / parts)
}

/// `width` columns cut into blocks of at most `most` vectors of `lanes`, sizes as even as possible.
pub fn blocks(width: usize, lanes: usize, most: usize) -> Vec<Block> {
    let mut first = 0;
    let cut = |vectors: usize| {
        let column = first * lanes;
        first += vectors;
        Block { column, vectors, lanes: (width - column).min(vectors * lanes) - (vectors - 1) * lanes }
    };
    even_parts(width.div_ceil(lanes), most).map(cut).collect()
}
