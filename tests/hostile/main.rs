//! Bad input, row by row: each must end with exit code 2, one message that names what is wrong, and no output; what is only
//! odd is repaired or carried on with a word on stderr.
//!
//! Elsewhere: output files that exist or are inputs (row 59) in `cli.rs`; signals (row 60) in `main_job.rs`, a reader of
//! stdout that goes away in `cli.rs`; BatchNormalization behind Relu, before Concat and shared (row 47) in `models.rs` and `zoo.rs`.
//! Not here: a GPU that is too small or gets lost (row 65), since no build computes on one, `cli.rs` asks for one that is absent;
//! names with trailing dots (row 20) are refused on every system, not on Windows alone.
#![cfg(unix)]

mod data;
mod external;
mod files;
mod graphs;
mod limits;
mod network;
mod operators;
mod program;
mod values;
