//! The runtimes that files can be made for.

mod ort_cpu;
mod ort_cpu_costs;
mod tensorrt;

use super::target::Target;

/// All targets; the first is the default.
pub fn all() -> [Target; 2] {
    [ort_cpu::ORT_CPU, tensorrt::TENSORRT]
}

/// The target called `name`.
pub fn find(name: &str) -> Option<Target> {
    all().into_iter().find(|target| target.name == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_have_unique_kebab_case_names_and_a_description() {
        for target in all() {
            assert!(target.name.chars().all(|c| c.is_ascii_lowercase() || c == '-'), "{}", target.name);
            assert!(!target.description.is_empty());
            assert_eq!(all().iter().filter(|other| other.name == target.name).count(), 1);
            assert_eq!(find(target.name).as_ref(), Some(&target));
        }
    }
}
