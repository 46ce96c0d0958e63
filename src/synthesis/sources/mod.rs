//! The sources of images.

mod generator;
mod generator_graph;
mod pixels;
#[cfg(feature = "candle")]
mod tensor_generator;
#[cfg(feature = "candle")]
mod tensor_pixels;

use super::source::SourceKind;

/// All sources; the first is the default.
pub fn all() -> [SourceKind; 2] {
    [pixels::PIXELS, generator::GENERATOR]
}

#[cfg(test)]
mod tests {
    use crate::execution;
    use crate::graph::sketch::Sketch;
    use crate::progress::Silent;
    use crate::synthesis::method::Method;
    use crate::synthesis::{Config, synthesize};

    #[test]
    fn every_source_comes_nearer_to_the_goal_on_any_number_of_threads() {
        for source in super::all() {
            assert!(source.name.chars().all(|c| c.is_ascii_lowercase() || c == '-'));
            let config = Config {
                samples: 12,
                batch: 8,
                steps: 40,
                sufficient: None,
                seed: 0,
                input_range: "-2,2".parse().unwrap(),
                method: Method { source, ..Method::default() },
                execution: execution::Config::default(),
            };
            let on = |threads: usize| {
                let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
                pool.install(|| synthesize(&Sketch::residual(), &config, &Silent).unwrap())
            };
            let (found, again) = (on(1), on(3));
            let (before, after) = found.loss.unwrap();
            assert!(after < 0.5 * before, "{}: {before} became {after}", source.name);
            assert!(found.set.inputs == again.set.inputs, "{}", source.name);
            let (low, high) = found.set.inputs[0].range().unwrap();
            assert!(-2.0 <= low && high <= 2.0);
        }
    }
}
