//! Synthesis on a small network.

use super::input_range::InputRange;
use super::swing::insert_swing;
use super::*;
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
    assert!(found.set.inputs[0].elements.iter().all(|x| (-2.0..=2.0).contains(x)));
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
    assert!((1..set.len()).all(|i| set.inputs[0].sample(i) != set.inputs[0].sample(0)));
}

#[test]
fn a_swing_that_rests_changes_nothing() {
    let graph = single_sample(&Sketch::residual()).unwrap();
    let mut swinging = graph.clone();
    assert_eq!(insert_swing(&mut swinging).unwrap().len(), 1);
    assert_same_function(&graph, &swinging);
}
