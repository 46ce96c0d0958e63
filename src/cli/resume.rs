//! `--resume`: what a run has reached, beside its output.

use std::ffi::OsString;
use std::fmt::Debug;
use std::path::{Path, PathBuf};

use clap::Args;
use sha2::{Digest, Sha256};

use super::Context;
use crate::calibration::CalibrationSet;
use crate::checkpoint::{self, Checkpoints, Resumable};
use crate::error::{Error, Result};
use crate::onnx::{Model, hexadecimal};
use crate::progress::Progress;
use crate::synthesis::sibling::Sibling;

#[derive(Args, Clone, Copy, Debug)]
pub struct ResumeArguments {
    /// Keep what is reached in the folder OUTPUT.resume, and go on from there where an earlier run was stopped; the result has
    /// the same bytes. The folder goes when the result is written
    #[arg(long)]
    pub resume: bool,
}

impl ResumeArguments {
    /// Removes what was kept: `output` is written.
    ///
    /// # Errors
    /// If it cannot be removed.
    pub fn finish(self, output: &Path) -> Result<()> {
        if self.resume { checkpoint::remove(&folder(output)) } else { Ok(()) }
    }

    /// Says where an interrupted run can be taken up.
    pub fn explain<T>(self, result: Result<T>, output: &Path, context: &Context) -> Result<T> {
        if self.resume && matches!(result, Err(Error::Interrupted)) {
            let folder = folder(output);
            context.terminal.note(&format!("what was reached is kept in {}; the same command goes on from there", folder.display()));
        }
        result
    }
}

fn folder(output: &Path) -> PathBuf {
    let mut name: OsString = output.components().as_path().as_os_str().to_owned();
    name.push(".resume");
    name.into()
}

/// What the results of a run follow from.
pub struct Run<'a> {
    /// The settings, without paths of what is named below.
    pub request: &'a dyn Debug,
    pub model: &'a Model,
    pub sibling: Option<&'a Sibling>,
    pub given: Option<&'a CalibrationSet>,
}

impl Run<'_> {
    /// Lets the work keep its states beside `output`, and go on from those that are there.
    ///
    /// # Errors
    /// If they are of another run, or cannot be read or written.
    pub fn open<'a>(&self, output: &Path, inner: &'a dyn Progress) -> Result<Resumable<'a>> {
        let sibling = self.sibling.map(|sibling| sibling.sha256.as_str()).unwrap_or("none");
        let given = self.given.map(digest).transpose()?.unwrap_or_else(|| "none".to_string());
        let (version, model) = (env!("CARGO_PKG_VERSION"), &self.model.sha256);
        let run = format!("zeroq: {version}\nmodel: {model}\nstatistics: {sibling}\nsamples: {given}\n{:#?}\n", self.request);
        Ok(Resumable { inner, checkpoints: Checkpoints::open(&folder(output), &run)? })
    }
}

fn digest(set: &CalibrationSet) -> Result<String> {
    let mut hash = Sha256::new();
    for input in &set.inputs {
        for index in 0..input.elements.len() {
            input.sample(index)?.iter().for_each(|x| hash.update(x.to_le_bytes()));
        }
    }
    Ok(hexadecimal(&hash.finalize()))
}
