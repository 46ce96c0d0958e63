//! Flags and words of the self-check.

use clap::Args;

use super::arguments::{Flag, count_parser, number_parser};
use super::text::{escape_name, plural};
use crate::evaluation::{Check, LayerCheck, Raise, Thresholds};
use crate::pipeline::Checking;
use crate::progress::abridged;

/// SQNR in decibels that every output must have.
const SQNR: f64 = 10.0;
/// Percent of the samples that must have the same class.
const AGREEMENT: f64 = 75.0;
/// Layers that are told of.
const TOLD: usize = 3;

#[derive(Args, Clone, Copy, Debug, Default)]
#[command(next_help_heading = "Self-check, on images of another seed, or on those of --calibration that are held out")]
pub struct CheckArguments {
    /// SQNR in decibels of the outputs below which layers are raised to more precision [default: 10]
    #[arg(long, value_name = "DB", allow_hyphen_values = true, value_parser = number_parser(-120.0, 120.0), conflicts_with = "no_check")]
    pub check_sqnr: Option<f64>,
    /// Percent of images with the same class below which layers are raised to more precision [default: 75]
    #[arg(long, value_name = "PERCENT", value_parser = number_parser(0.0, 100.0), conflicts_with = "no_check")]
    pub check_agreement: Option<f64>,
    /// Layers that may be raised; 0 to look only [default: a quarter of all]
    #[arg(hide_short_help = true, long, value_name = "N", value_parser = count_parser(0, 1_000_000), conflicts_with = "no_check")]
    pub check_budget: Option<usize>,
    /// Do not check the result
    #[arg(long)]
    pub no_check: bool,
    /// End with 1 where the check fails, or where it rests on a guess: the result is written all the same
    #[arg(long)]
    pub strict: bool,
}

impl CheckArguments {
    pub fn checking(&self) -> Option<Checking> {
        let thresholds = Thresholds {
            agreement_percent: Some(self.check_agreement.unwrap_or(AGREEMENT)),
            sqnr_db: Some(self.check_sqnr.unwrap_or(SQNR)),
        };
        (!self.no_check).then_some(Checking { thresholds, budget: self.check_budget })
    }

    /// All flags, and whether they are said.
    pub fn flags(&self) -> [Flag; 4] {
        [
            ("--check-sqnr", self.check_sqnr.is_some()),
            ("--check-agreement", self.check_agreement.is_some()),
            ("--check-budget", self.check_budget.is_some()),
            ("--no-check", self.no_check),
        ]
    }
}

/// The verdict, what was raised, and the layers that are farthest from the original.
pub fn describe_check(check: &Check) -> String {
    let comparison = &check.comparison;
    let agreement = comparison.least_agreement().map(|percent| format!("agreement {percent:.1} %, ")).unwrap_or_default();
    let sqnr = comparison.least_sqnr().unwrap_or_default();
    let verdict = if check.passed { escape_name(&check.verdict) } else { "FAILED".into() };
    let mut text = format!("self-check {verdict}: {agreement}SQNR {sqnr:.1} dB on {}", plural(comparison.samples, "unseen sample"));
    for witness in &check.witnesses {
        text += &format!(", {:.1} dB {}", witness.comparison.least_sqnr().unwrap_or_default(), escape_name(&witness.source));
    }
    text += "\n";
    for missed in &check.missed {
        text += &format!("  {}\n", escape_name(missed));
    }
    let told = |raise: &Raise| {
        let nodes = raise.nodes.iter().map(|node| format!("`{}`", escape_name(node))).collect::<Vec<_>>().join(", ");
        format!("{nodes} from {} to {}: {}", raise.from, raise.to, escape_name(&raise.reason))
    };
    abridged(check.raised.iter().map(told)).for_each(|line| text += &format!("  raised: {line}\n"));
    let mut worst: Vec<&LayerCheck> = check.layers.iter().collect();
    worst.sort_by(|a, b| a.sqnr_db.total_cmp(&b.sqnr_db));
    let told = worst.iter().take(TOLD).map(|layer| format!("`{}` {:.1} dB", escape_name(&layer.node), layer.sqnr_db));
    let told: Vec<String> = told.collect();
    if told.is_empty() { text } else { text + &format!("  farthest layers: {}\n", told.join(", ")) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::arguments::first_said;

    #[test]
    fn a_check_is_on_unless_it_is_turned_off() {
        let usual = CheckArguments::default().checking().unwrap();
        assert_eq!((usual.thresholds.sqnr_db, usual.thresholds.agreement_percent, usual.budget), (Some(SQNR), Some(AGREEMENT), None));
        let off = CheckArguments { no_check: true, ..CheckArguments::default() };
        assert_eq!((off.checking(), first_said(off.flags())), (None, Some("--no-check")));
    }
}
