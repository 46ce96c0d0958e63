//! Flags and words of mixed precision.

use std::str::FromStr;

use clap::Args;

use super::arguments::number_parser;
use super::quantize::Precision;
use super::text::{bytes, escape_name, plural};
use crate::error::{Error, Result};
use crate::evaluation::MixedChoice;
use crate::pipeline::{Mixed, SizeLimit};

#[derive(Args, Clone, Copy, Debug, Default)]
#[command(next_help_heading = "Mixed precision")]
pub struct MixedArguments {
    /// Largest result, with --precision mixed: a file size (60000, 60KiB, 1.5MB), a part of the original (0.15x), or mean bits
    /// of the weights (4.5bits)
    #[arg(long, value_name = "SIZE", value_parser = SizeLimit::from_str)]
    pub max_size: Option<SizeLimit>,
    /// Least SQNR of the outputs in decibels on images of another seed, with --precision mixed; the smallest result that has it
    /// is taken
    #[arg(long, value_name = "DB", allow_hyphen_values = true, value_parser = number_parser(-120.0, 120.0))]
    pub min_sqnr: Option<f64>,
}

impl MixedArguments {
    pub fn mixed(&self) -> Mixed {
        Mixed { max_size: self.max_size, min_sqnr: self.min_sqnr }
    }

    /// # Errors
    /// If these flags and `precision` do not go together.
    pub fn check(&self, precision: Precision) -> Result<()> {
        match (self.max_size.is_some() || self.min_sqnr.is_some(), precision == Precision::Mixed) {
            (true, false) => Err(Error::Usage("--max-size and --min-sqnr need --precision mixed".into())),
            (false, true) => Err(Error::Usage("--precision mixed needs --max-size or --min-sqnr".into())),
            _ => Ok(()),
        }
    }
}

/// Which layers got which width, the widest by name.
pub fn describe_mixed(choice: &MixedChoice) -> String {
    let mut text = format!("mixed: {:.2} bits per weight, {} of weights\n", choice.average_bits, bytes(choice.weight_bytes));
    for width in ["4", "8", "16", "float"] {
        let layers: Vec<&str> =
            choice.layers.iter().filter(|layer| layer.width == width).flat_map(|layer| &layer.nodes).map(String::as_str).collect();
        if !layers.is_empty() {
            let names = layers.iter().map(|name| format!("`{}`", escape_name(name))).collect::<Vec<_>>().join(", ");
            text += &format!("  {width}: {}: {names}\n", plural(layers.len(), "layer"));
        }
    }
    text
}
