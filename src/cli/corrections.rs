//! Flags that say what is corrected before the quantized model is tuned.

use clap::Args;

use super::arguments::{Flag, choice_parser};
use crate::distillation::{BiasCorrection, Corrections, Rounding};

#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Rounding and biases")]
pub struct CorrectionArguments {
    /// Move what activations always have into the biases behind them
    #[arg(hide_short_help = true, long)]
    pub absorb_bias: bool,
    /// How weights are rounded that are not reconstructed [default: squant]
    #[arg(hide_short_help = true, long, value_parser = choice_parser(&Rounding::ALL, Rounding::name, Rounding::description))]
    pub rounding: Option<Rounding>,
    /// Where biases get the mean errors from that they make up for
    #[arg(hide_short_help = true, long, default_value = BiasCorrection::None.name(), value_parser = choice_parser(&BiasCorrection::ALL, BiasCorrection::name, BiasCorrection::description))]
    pub bias_correction: BiasCorrection,
}

impl CorrectionArguments {
    /// All flags, and whether they are said.
    pub fn flags(&self) -> [Flag; 3] {
        [
            ("--absorb-bias", self.absorb_bias),
            ("--rounding", self.rounding.is_some()),
            ("--bias-correction", self.bias_correction != BiasCorrection::None),
        ]
    }

    /// What was asked for.
    pub fn corrections(&self) -> Corrections {
        Corrections { absorb_bias: self.absorb_bias, rounding: self.rounding.unwrap_or(Rounding::Squant), bias: self.bias_correction }
    }
}
