//! Synthesis on a small network.

use super::input_range::InputRange;
use super::passes::{Activations, TapePasses};
use super::swing::insert_swing;
use super::*;
use crate::checkpoint::tests::check_resuming;
use crate::execution::tape::Lanes;
use crate::execution::tests::all_devices;
use crate::graph::sketch::{Sketch, assert_same_function};
use crate::progress::Silent;

fn config(steps: usize, seed: u64) -> Config {
    let input_range = "-2,2".parse::<InputRange>().unwrap();
    Config {
        samples: 12,
        batch: 8,
        steps,
        sufficient: None,
        seed,
        input_range,
        method: Method::default(),
        execution: execution::Config::default(),
    }
}

#[test]
fn statistics_come_nearer_and_pixels_stay_in_range() {
    let found = synthesize(&Sketch::residual(), &config(60, 0), &Silent).unwrap();
    let (before, after) = found.loss.unwrap();
    assert!(after < 0.5 * before, "{before} became {after}");
    assert_eq!((found.set.len(), found.steps), (12, 120));
    let (low, high) = found.set.inputs[0].range().unwrap();
    assert!(-2.0 <= low && high <= 2.0);
}

#[test]
fn a_batch_that_is_near_enough_takes_no_more_steps() {
    let within = |distance: f64| synthesize(&Sketch::residual(), &Config { sufficient: Some(distance), ..config(60, 0) }, &Silent).unwrap();
    let all = within(0.0);
    let (_, end) = all.loss.unwrap();
    let some = within(2.0 * end);
    assert!(all.steps == 120 && (16..120).contains(&some.steps), "{} of {}", some.steps, all.steps);
    assert!(some.loss.unwrap().1 < 4.0 * end);
}

#[test]
fn the_seed_decides_the_images_and_threads_do_not() {
    let on = |threads: usize, seed: u64| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| synthesize(&Sketch::residual(), &config(5, seed), &Silent).unwrap().set.inputs)
    };
    let images = on(1, 0);
    assert!(images == on(3, 0));
    assert!(images != on(1, 1));
}

#[test]
fn samples_of_one_set_differ() {
    let set = synthesize(&Sketch::residual(), &config(5, 0), &Silent).unwrap().set;
    assert!((1..set.len()).all(|i| set.inputs[0].sample(i).unwrap() != set.inputs[0].sample(0).unwrap()));
}

#[test]
fn a_swing_that_rests_changes_nothing() {
    let graph = single_sample(&Sketch::residual()).unwrap();
    let mut swinging = graph.clone();
    assert_eq!(insert_swing(&mut swinging).unwrap().len(), 1);
    assert_same_function(&graph, &swinging);
}

#[test]
fn activations_that_are_made_again_are_the_same() {
    let config = config(6, 0);
    let graph = single_sample(&Sketch::residual()).unwrap();
    let sites = sites::informative(&graph, &Silent).unwrap();
    let inputs = find_inputs(&graph, &sites, &config, &Silent).unwrap();
    let goal = Goal::new(&graph, &sites, &inputs, &config.method).unwrap();
    let with = |made_again: bool| {
        let isa = config.execution.isa;
        let setup = Setup { graph: &graph, goal: &goal, swings: &[], inputs: &inputs, samples: 5, execution: config.execution };
        let mut passes = TapePasses::new(&setup, &Silent).unwrap();
        assert!(matches!(passes.activations, Activations::Kept(_)));
        if made_again {
            passes.activations = Activations::MadeAgain { lanes: Lanes::default(), at_once: 2 };
        }
        let images = read_batch(&first_samples(&inputs, config.method.start, config.seed, config.samples).unwrap(), 0..5).unwrap();
        let setting = Setting { inputs: &inputs, samples: 5, rate: config.method.rate, seed: 0, batch: 0, isa };
        let mut matching = Matching { passes: Box::new(passes), goal: &goal, inputs: &inputs };
        let earlier: Vec<ChannelSums> = goal.sites.iter().map(|site| ChannelSums::new(site.stored.len())).collect();
        let (random, of_labels) = (Random::new(0, 1), Random::new(0, 2));
        let extent = Extent { steps: 6, sufficient: None };
        let course = Course { setting, earlier: &earlier, extent, random, of_labels, progress: &Silent };
        matching.optimize(images, course).unwrap()
    };
    assert!(with(true) == with(false));
}

#[test]
fn an_interrupted_synthesis_goes_on_to_the_same_images() {
    for device in all_devices() {
        for source in sources::all() {
            for stages in [1, 2] {
                let method = Method { source, stages, ..Method::default() };
                let execution = execution::Config { device, ..execution::Config::default() };
                let config = Config { method, execution, ..config(6, 0) };
                check_resuming(4, |progress| Ok(synthesize(&Sketch::residual(), &config, progress)?.set));
            }
        }
    }
}

/// The engine on tensors, with one device and with two, comes to the same losses.
#[cfg(feature = "candle")]
#[test]
fn tensors_come_as_near_as_the_tape() {
    let generator = Method { source: sources::all()[1], ..Method::default() };
    for method in [Method::default(), Method { pool: Pool::Image, ..Method::default() }, everything(), generator] {
        let with = |device| {
            let config =
                Config { method: method.clone(), execution: execution::Config { device, ..execution::Config::default() }, ..config(40, 0) };
            synthesize(&Sketch::residual(), &config, &Silent).unwrap()
        };
        let tape = with(execution::Device::Cpu);
        for device in execution::candle::tests::devices() {
            let tensors = with(device);
            let (wanted, found) = (tape.loss.unwrap(), tensors.loss.unwrap());
            assert!((wanted.0 - found.0).abs() < 1e-4 * wanted.0, "{wanted:?}, {found:?}");
            assert!((wanted.1 - found.1).abs() < 0.05 * wanted.1, "{wanted:?}, {found:?}");
            assert_eq!(tensors.set.provenance.isa, Some(device.to_string()));
        }
    }
}

/// All losses at once, through a blur.
#[cfg(feature = "candle")]
fn everything() -> Method {
    let image_losses = losses::of_images().iter().map(|loss| (*loss, 0.05)).collect();
    let output_losses = losses::of_outputs().iter().map(|loss| (*loss, 0.02)).collect();
    Method { image_losses, output_losses, low_pass: Some(0.6), start: Start::Gaussian, ..Method::default() }
}
