//! Which outputs of two models answer each other.

use ndarray::ArrayD;

use super::engine::Subject;
use crate::error::{Error, Result};
use crate::graph::Dim;

pub fn output_names(subject: &Subject<'_>) -> Vec<String> {
    subject.graph.outputs.iter().map(|id| subject.graph.value(*id).name.clone()).collect()
}

/// Which output of the candidate answers each of the reference: the one of the same name, or of the same place where no
/// name is the same.
pub fn pair_outputs(reference: &[String], candidate: &[String]) -> Result<Vec<usize>> {
    let find = |name: &String| candidate.iter().position(|other| other == name);
    if let Some(pairing) = reference.iter().map(find).collect::<Option<Vec<usize>>>() {
        return Ok(pairing);
    }
    if reference.len() == candidate.len() && reference.iter().all(|name| find(name).is_none()) {
        return Ok((0..reference.len()).collect());
    }
    Err(Error::Usage(format!("the outputs differ: {} in one and {} in the other", reference.join(", "), candidate.join(", "))))
}

/// Why two outputs are not compared, `None` standing for one whose shape changes; sizes that are open in `declared` may be other
/// ones in each model.
pub fn reason_to_leave_out(declared: &[Dim], expected: Option<&ArrayD<f32>>, actual: Option<&ArrayD<f32>>) -> Option<&'static str> {
    let (Some(expected), Some(actual)) = (expected, actual) else { return Some("the shape changes from sample to sample") };
    if expected.is_empty() || actual.is_empty() {
        return Some("the samples have no elements");
    }
    let mut axes = (1..expected.ndim().min(actual.ndim())).filter(|axis| expected.shape()[*axis] != actual.shape()[*axis]).peekable();
    let differ = expected.ndim() == actual.ndim() && axes.peek().is_some();
    let open = |axis: usize| declared.get(axis - 1).is_none_or(|dim| dim.known().is_none());
    (differ && axes.all(open)).then_some("the shape is another in each model")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outputs_that_differ_in_shape_are_left_out_where_that_is_their_nature() {
        let (two, three, none) = (ArrayD::zeros(vec![2, 2]), ArrayD::zeros(vec![2, 3]), ArrayD::zeros(vec![2, 0]));
        let reason = |declared: &[Dim], expected, actual| reason_to_leave_out(declared, expected, actual).unwrap_or_default();
        assert_eq!(reason(&[], Some(&two), Some(&two)), "");
        assert_eq!(reason(&[Dim::Known(2)], Some(&two), Some(&three)), "");
        assert_eq!(reason(&[Dim::Unknown], Some(&two), Some(&three)), "the shape is another in each model");
        assert_eq!(reason(&[], Some(&none), Some(&two)), "the samples have no elements");
        assert_eq!(reason(&[Dim::Known(2)], None, Some(&two)), "the shape changes from sample to sample");
    }

    #[test]
    fn outputs_are_paired_by_name_then_by_place() {
        let names = |text: &str| text.split(' ').map(str::to_string).collect::<Vec<_>>();
        assert_eq!(pair_outputs(&names("a b"), &names("b a")).unwrap(), [1, 0]);
        assert_eq!(pair_outputs(&names("a b"), &names("c d")).unwrap(), [0, 1]);
        assert!(pair_outputs(&names("a b"), &names("a c")).is_err());
        assert!(pair_outputs(&names("a b"), &names("c")).is_err());
    }
}
