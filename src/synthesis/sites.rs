//! Where a graph has statistics to match.

use std::collections::HashSet;

use super::goal::Site;
use super::loss::Gaussian;
use crate::error::Result;
use crate::graph::Graph;
use crate::passes::{BatchNormSite, batch_norm_statistics};
use crate::progress::Progress;

/// Sites that say something: statistics that were never trained (mean 0, variance 1) do not.
///
/// # Errors
/// If statistics are not constant, negative or not finite.
pub fn informative(graph: &Graph, progress: &dyn Progress) -> Result<Vec<Site>> {
    let found = batch_norm_statistics(graph)?;
    let untrained = |site: &BatchNormSite| site.mean.iter().all(|m| *m == 0.0) && site.variance.iter().all(|v| *v == 1.0);
    if !found.is_empty() && found.iter().all(untrained) {
        progress.warn("all BatchNormalization statistics are mean 0 and variance 1: the model looks untrained");
        return Ok(Vec::new());
    }
    let site = |site: BatchNormSite| {
        let epsilon = f64::from(site.epsilon).max(1e-8);
        let gaussian = |(mean, variance): (&f32, &f32)| Gaussian { mean: f64::from(*mean), variance: f64::from(*variance) + epsilon };
        Site { value: site.input, stored: site.mean.iter().zip(&site.variance).map(gaussian).collect(), epsilon }
    };
    let mut sites: Vec<Site> = found.into_iter().map(site).collect();
    // A value that two BatchNormalizations read counts once.
    let mut seen = HashSet::new();
    sites.retain(|site| seen.insert(site.value));
    Ok(sites)
}
