//! Widths for each layer that serve a size or an SQNR.

use std::fmt;
use std::str::FromStr;

use super::survey::{Survey, WIDTHS, decibels, name};
use super::trial::ranges_of;
use super::{Config, Decisions, Prepared, Trial, write};
use crate::calibration::CalibrationSet;
use crate::error::{Error, Result};
use crate::evaluation::{LayerChoice, MixedChoice, Profile, Reference};
use crate::onnx::{self, Model};
use crate::progress::{Progress, Silent};
use crate::quantization::{Choice, Layer, Optimum};

/// What layers with widths of their own are to reach; nothing where they are only surveyed.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Mixed {
    pub max_size: Option<SizeLimit>,
    /// In decibels, of the tuned network on samples of another seed; logits where an output is a Softmax.
    pub min_sqnr: Option<f64>,
}

impl fmt::Display for Mixed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let size = self.max_size.as_ref().map(|limit| format!("max-size {limit}"));
        let sqnr = self.min_sqnr.map(|db| format!("min-sqnr {db}"));
        f.write_str(&size.into_iter().chain(sqnr).collect::<Vec<_>>().join(", "))
    }
}

/// How large the result may be.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum SizeLimit {
    /// Of the file.
    Bytes(u64),
    /// Of the file, as a part of the original.
    Part(f64),
    /// Mean over the weights of all layers that may be quantized.
    Bits(f64),
}

impl fmt::Display for SizeLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SizeLimit::Bytes(bytes) => write!(f, "{bytes}"),
            SizeLimit::Part(part) => write!(f, "{part}x"),
            SizeLimit::Bits(bits) => write!(f, "{bits}bits"),
        }
    }
}

const UNITS: [(&str, f64); 7] =
    [("KiB", 1024.0), ("MiB", 1_048_576.0), ("GiB", 1_073_741_824.0), ("kB", 1e3), ("MB", 1e6), ("GB", 1e9), ("B", 1.0)];

impl FromStr for SizeLimit {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong =
            || "expected a file size (60000, 60KiB, 1.5MB), a part of the original (0.15x), or bits per weight (4.5bits)".to_string();
        let number =
            |digits: &str| digits.trim().parse::<f64>().ok().filter(|number| *number > 0.0 && number.is_finite()).ok_or_else(wrong);
        if let Some(digits) = text.strip_suffix("bits") {
            return number(digits).map(SizeLimit::Bits);
        }
        if let Some(digits) = text.strip_suffix('x') {
            return number(digits).map(SizeLimit::Part);
        }
        let (digits, factor) = UNITS.iter().find_map(|(unit, factor)| Some((text.strip_suffix(unit)?, *factor))).unwrap_or((text, 1.0));
        let bytes = number(digits)? * factor;
        if bytes < 9e15 { Ok(SizeLimit::Bytes(bytes as u64)) } else { Err(wrong()) }
    }
}

/// How much the network minds each layer's width.
///
/// # Errors
/// Those of [`super::quantize`].
pub fn profile(model: &Model, given: Option<CalibrationSet>, config: &Config, progress: &dyn Progress) -> Result<Profile> {
    let prepared = Prepared::new(model, given, config, progress)?;
    Ok(Survey::new(&prepared, config, progress)?.profile(&prepared.teacher))
}

/// The tuned student with the widths that serve `wanted`, and what these were chosen by.
///
/// # Errors
/// If even the smallest result is larger than it may be.
pub(super) fn choose(
    prepared: &Prepared,
    model: &Model,
    wanted: &Mixed,
    config: &Config,
    progress: &dyn Progress,
) -> Result<(Trial, MixedChoice, Profile)> {
    let survey = Survey::new(prepared, config, progress)?;
    let search = Search { prepared, model, survey: &survey, config, progress };
    let within = match wanted.max_size {
        Some(limit) => search.within(limit)?,
        None => survey.optima.len(),
    };
    let (index, trial, measured) = match wanted.min_sqnr {
        Some(least) => search.smallest(within, least)?,
        None => (within - 1, search.tuned(within - 1)?, None),
    };
    Ok((trial, search.describe(&survey.optima[index], measured), survey.profile(&prepared.teacher)))
}

struct Search<'a> {
    prepared: &'a Prepared,
    model: &'a Model,
    survey: &'a Survey,
    config: &'a Config,
    progress: &'a dyn Progress,
}

/// Trials that a least SQNR may take.
const TRIALS: usize = 5;
/// Part of the size below which a smaller result is not worth another trial.
const WORTHWHILE: f64 = 0.02;
/// Files that a size may take to be met.
const FILES: usize = 12;
/// Bytes by which tuning may change the file: numbers in its metadata.
const SLACK: u64 = 16;

impl Search<'_> {
    /// How many optima, from the smallest on, are within the limit.
    fn within(&self, limit: SizeLimit) -> Result<usize> {
        let optima = &self.survey.optima;
        let within = match limit {
            SizeLimit::Bits(bits) => {
                let most = (bits * self.survey.elements() as f64).floor() as u64;
                optima.partition_point(|optimum| optimum.bits <= most)
            }
            SizeLimit::Bytes(bytes) => self.fitting(bytes)?,
            SizeLimit::Part(part) => self.fitting((part * self.model.file_bytes as f64) as u64)?,
        };
        if within > 0 {
            return Ok(within);
        }
        let smallest = match limit {
            SizeLimit::Bits(_) => "4bits".to_string(),
            _ => format!("{} bytes", self.file_bytes(&optima[0])? + SLACK),
        };
        Err(Error::Usage(format!("--max-size {limit}: even with 4 bits for all layers it takes {smallest}")))
    }

    /// How many optima, from the smallest on, have files of at most `bytes`: bits of weights propose, files decide.
    fn fitting(&self, bytes: u64) -> Result<usize> {
        let optima = &self.survey.optima;
        let (mut low, mut high, mut most) = (0, optima.len(), bytes.saturating_mul(8));
        for _ in 0..FILES {
            if low == high {
                break;
            }
            let index = optima.partition_point(|optimum| optimum.bits <= most).saturating_sub(1).clamp(low, high - 1);
            let file_bytes = self.file_bytes(&optima[index])? + SLACK;
            most = optima[index].bits.saturating_add_signed(8 * (bytes as i64).saturating_sub_unsigned(file_bytes));
            if file_bytes <= bytes { low = index + 1 } else { high = index }
        }
        Ok(low)
    }

    /// Size of the file with these widths, which tuning does not change.
    fn file_bytes(&self, optimum: &Optimum) -> Result<u64> {
        let Search { prepared, model, survey, config, .. } = self;
        let assignment = survey.assignment(&prepared.teacher, optimum, config)?;
        let plan = assignment.plan(&prepared.teacher, &config.target, &config.exclude)?;
        // Zero points that are alike are stored once.
        let ranges = ranges_of(prepared, &plan, config, &Silent)?;
        let trial = Trial::untuned(prepared, assignment, plan, ranges, config)?;
        let (model, _) = write(model, trial, &prepared.set.provenance, Decisions::default(), config, &Silent)?;
        onnx::encoded_len(&model)
    }

    fn tuned(&self, index: usize) -> Result<Trial> {
        let assignment = self.survey.assignment(&self.prepared.teacher, &self.survey.optima[index], self.config)?;
        Trial::new(self.prepared, assignment, self.config, self.progress)
    }

    /// The smallest of the first `within` optima whose tuned network has an SQNR of `least` decibels. What tuning and the rest
    /// of the network change of the predicted noise is learned from each trial.
    fn smallest(&self, within: usize, least: f64) -> Result<(usize, Trial, Option<f64>)> {
        let Prepared { teacher, unseen, set, .. } = self.prepared;
        let reference = Reference::new(teacher, unseen.as_ref().unwrap_or(set), self.config.execution)?;
        let optima = &self.survey.optima;
        let (mut low, mut high, mut ratio) = (0, within, 1.0);
        let mut best: Option<(usize, Trial, f64)> = None;
        for _ in 0..TRIALS {
            let index = optima.partition_point(|optimum| optimum.noise * ratio > 10f64.powf(-least / 10.0)).clamp(low, high - 1);
            let saved = best.as_ref().map(|(best, ..)| 1.0 - optima[index].bits as f64 / optima[*best].bits as f64);
            let holds = best.as_ref().is_some_and(|(_, _, sqnr)| *sqnr >= least);
            if holds && saved.is_some_and(|saved| saved < WORTHWHILE) {
                break;
            }
            let trial = self.tuned(index)?;
            let sqnr = reference.compare(&trial.graph)?.least_sqnr().unwrap_or(0.0);
            self.progress.note(&format!("{}: SQNR {sqnr:.1} dB", self.summary(&optima[index])));
            ratio = 10f64.powf(-sqnr / 10.0) / optima[index].noise.max(1e-12);
            if sqnr >= least {
                high = index;
            } else {
                low = index + 1;
            }
            let better = best.as_ref().is_none_or(|(_, _, former)| if sqnr >= least { true } else { *former < least && sqnr > *former });
            if better {
                best = Some((index, trial, sqnr));
            }
            if low >= high {
                break;
            }
        }
        let (index, trial, sqnr) = best.ok_or_else(|| Error::Internal("no widths were tried".into()))?;
        if sqnr < least {
            self.progress.warn(&format!("--min-sqnr {least}: the best that was found within the size has an SQNR of {sqnr:.2} dB"));
        }
        Ok((index, trial, Some(sqnr)))
    }

    fn summary(&self, optimum: &Optimum) -> String {
        let count = |width: usize| optimum.choices.iter().filter(|choice| **choice == width).count();
        let counts = WIDTHS.iter().enumerate().map(|(index, width)| (count(index), name(*width))).filter(|(count, _)| *count > 0);
        let widths = counts.map(|(count, name)| format!("{count} layers of {name}")).collect::<Vec<_>>().join(", ");
        format!("{widths}: {:.2} bits per weight", optimum.bits as f64 / self.survey.elements().max(1) as f64)
    }

    fn describe(&self, optimum: &Optimum, measured: Option<f64>) -> MixedChoice {
        let graph = &self.prepared.teacher;
        let layers = self.survey.layers.iter().zip(&self.survey.choices).zip(&optimum.choices);
        let layer = |((layer, choices), choice): ((&Layer, &Vec<Choice>), &usize)| LayerChoice {
            nodes: layer.products.iter().map(|id| graph.node(*id).name.clone()).collect(),
            width: name(WIDTHS[*choice]),
            weight_bytes: choices[*choice].bits.div_ceil(8),
        };
        MixedChoice {
            layers: layers.map(layer).collect(),
            weight_bytes: optimum.bits.div_ceil(8),
            average_bits: optimum.bits as f64 / self.survey.elements().max(1) as f64,
            predicted_sqnr_db: decibels(optimum.noise),
            measured_sqnr_db: measured,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_of_files_parts_or_bits() {
        let cases = [
            ("60000", SizeLimit::Bytes(60_000)),
            ("60KiB", SizeLimit::Bytes(61_440)),
            ("1.5MB", SizeLimit::Bytes(1_500_000)),
            ("12B", SizeLimit::Bytes(12)),
            ("0.15x", SizeLimit::Part(0.15)),
            ("4.5bits", SizeLimit::Bits(4.5)),
        ];
        for (text, limit) in cases {
            assert_eq!(text.parse(), Ok(limit), "{text}");
            assert_eq!(limit.to_string().parse(), Ok(limit));
        }
        for text in ["", "x", "0x", "-1", "nanbits", "infx", "60 bananas", "1e30"] {
            assert!(text.parse::<SizeLimit>().is_err(), "{text}");
        }
    }
}
