//! The runtimes that files can be made for.

mod ort_arm64;
mod ort_cpu;
mod ort_cpu_avx2;
mod ort_cpu_costs;
mod qnn;
mod tensorrt;
mod tract;

use super::target::Target;

/// All targets; the first is the default.
pub fn all() -> [Target; 6] {
    [ort_cpu::ORT_CPU, ort_cpu_avx2::ORT_CPU_AVX2, ort_arm64::ORT_ARM64, tensorrt::TENSORRT, qnn::QNN, tract::TRACT]
}

/// The target called `name`.
pub fn find(name: &str) -> Option<Target> {
    all().into_iter().find(|target| target.name == name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::sketch::Sketch;
    use crate::quantization::{Width, Widths};

    #[test]
    fn targets_have_unique_kebab_case_names_and_a_description() {
        for target in all() {
            assert!(target.name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-'), "{}", target.name);
            assert!([target.description, target.runs_in, target.tested].iter().all(|text| !text.is_empty()), "{}", target.name);
            assert_eq!(all().iter().filter(|other| other.name == target.name).count(), 1);
            assert_eq!(find(target.name).as_ref(), Some(&target));
        }
    }

    #[test]
    fn every_target_takes_int8_and_the_activations_it_is_given() {
        let graph = Sketch::new(&[1, 3]).plain("y", "Relu", "x").outputs("y");
        for target in all() {
            assert!(target.check(&graph, &Widths::INT8, "int8").is_ok(), "{}", target.name);
            assert!(target.activation_types.contains(&target.activation_type), "{}", target.name);
            assert!(!target.symmetric_activations || target.signed_activations(), "{}", target.name);
        }
    }

    #[test]
    fn what_a_runtime_does_not_take_is_refused_with_all_reasons() {
        struct Case {
            target: &'static str,
            widths: (Width, Width),
            says: &'static [&'static str],
        }
        let graph = Sketch::new(&[0, 0]).plain("y", "Relu", "x").outputs("y");
        let cases = [
            Case { target: "tensorrt", widths: (Width::Four, Width::Four), says: &["w4a4", "no i4 activations, only i8"] },
            Case { target: "tensorrt", widths: (Width::Eight, Width::Sixteen), says: &["no i16 activations"] },
            Case { target: "tract", widths: (Width::Four, Width::Four), says: &["no i4 weights", "no u4 activations"] },
            Case { target: "qnn", widths: (Width::Four, Width::Four), says: &["no u4 activations, only u8, u16", "--shape x="] },
            Case { target: "qnn", widths: (Width::Eight, Width::Sixteen), says: &["open sizes"] },
            Case { target: "tensorrt", widths: (Width::Four, Width::Eight), says: &[] },
            Case { target: "ort-cpu", widths: (Width::Four, Width::Four), says: &[] },
        ];
        for Case { target, widths: (weights, activations), says } in cases {
            let widths = Widths { weights, activations, all_layers: false };
            let refused = find(target).unwrap().check(&graph, &widths, &widths.to_string());
            let message = refused.err().map(|error| error.to_string());
            assert_eq!(message.is_some(), !says.is_empty(), "{target}: {message:?}");
            let message = message.unwrap_or_default();
            assert!(says.iter().all(|part| message.contains(part)), "{target}: {message}");
        }
    }

    #[test]
    fn without_vnni_two_products_fit_sixteen_bits() {
        let largest = |name: &str| 2 * i32::from(u8::MAX) * i32::from(find(name).unwrap().largest_weight);
        assert!(largest("ort-cpu-avx2") <= i32::from(i16::MAX) && largest("ort-cpu") > i32::from(i16::MAX));
    }
}
