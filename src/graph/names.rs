//! Who has which name, kept by `graph::edit` as names are given and taken away.

use std::collections::HashMap;

use super::ValueId;

/// The names of values and nodes.
#[derive(Clone, Debug, Default)]
pub(super) struct Names {
    owners: HashMap<String, Owners>,
    /// The least number from 1 on that is free behind `name_`, for each name behind which 1 is taken.
    free: HashMap<String, usize>,
}

#[derive(Clone, Debug, Default)]
struct Owners {
    /// In ascending order.
    values: Vec<ValueId>,
    nodes: usize,
}

impl Names {
    pub fn add_value(&mut self, name: &str, id: ValueId) {
        let values = &mut self.owners(name).values;
        values.insert(values.partition_point(|other| *other < id), id);
    }

    pub fn add_node(&mut self, name: &str) {
        self.owners(name).nodes += 1;
    }

    pub fn remove_value(&mut self, name: &str, id: ValueId) {
        self.remove(name, |owners| owners.values.retain(|other| *other != id));
    }

    pub fn remove_node(&mut self, name: &str) {
        self.remove(name, |owners| owners.nodes = owners.nodes.saturating_sub(1));
    }

    /// The first value of this name.
    pub fn value(&self, name: &str) -> Option<ValueId> {
        self.owners.get(name)?.values.first().copied()
    }

    /// `wanted`, or `wanted_N` with the least N from 1 on that makes it nobody's name.
    pub fn unused(&self, wanted: &str) -> String {
        if !self.owners.contains_key(wanted) {
            return wanted.to_string();
        }
        format!("{wanted}_{}", self.free.get(wanted).copied().unwrap_or(1))
    }

    fn owners(&mut self, name: &str) -> &mut Owners {
        if !self.owners.contains_key(name) {
            self.owners.insert(name.to_string(), Owners::default());
            self.take_number(name);
        }
        self.owners.entry(name.to_string()).or_default()
    }

    fn remove(&mut self, name: &str, change: impl FnOnce(&mut Owners)) {
        let Some(owners) = self.owners.get_mut(name) else { return };
        change(owners);
        if owners.values.is_empty() && owners.nodes == 0 {
            self.owners.remove(name);
            if let Some((stem, number)) = numbered(name)
                && let Some(free) = self.free.get_mut(stem)
            {
                *free = number.min(*free);
            }
        }
    }

    /// Where `name` was the least free one behind its stem, the next one is.
    fn take_number(&mut self, name: &str) {
        let Some((stem, number)) = numbered(name) else { return };
        let free = self.free.get(stem).copied().unwrap_or(1);
        if number == free {
            let next = (free + 1..).find(|next| !self.owners.contains_key(&format!("{stem}_{next}")));
            self.free.insert(stem.to_string(), next.unwrap_or(free));
        }
    }
}

/// A name that ends in a number as [`Names::unused`] writes it.
fn numbered(name: &str) -> Option<(&str, usize)> {
    let (stem, digits) = name.rsplit_once('_')?;
    let plain = digits.bytes().all(|digit| digit.is_ascii_digit()) && !digits.starts_with('0');
    Some((stem, digits.parse().ok().filter(|_| plain)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_least_free_number_is_found_whatever_came_and_went() {
        let mut random = crate::random::Random::new(3, 0);
        let mut names = Names::default();
        let mut there: Vec<String> = Vec::new();
        for step in 0..4000 {
            let stem = ["a", "b_1", "b"][step % 3];
            if !there.is_empty() && random.uniform() < 0.45 {
                let gone = there.swap_remove(random.below(there.len()));
                names.remove_node(&gone);
            } else {
                let number = random.below(30);
                let name = if random.uniform() < 0.5 { names.unused(stem) } else { format!("{stem}_{number}") };
                names.add_node(&name);
                there.push(name);
            }
            let free = |name: &String| !there.contains(name);
            let least = (1..).map(|number| format!("{stem}_{number}")).find(free).unwrap();
            let wanted = if free(&stem.to_string()) { stem.to_string() } else { least };
            assert_eq!(names.unused(stem), wanted, "step {step}");
        }
    }

    #[test]
    fn values_are_found_by_name_the_first_one_first() {
        let mut names = Names::default();
        for id in [5, 2, 9] {
            names.add_value("v", ValueId(id));
        }
        names.add_node("v");
        for id in [2, 5, 9] {
            assert_eq!(names.value("v"), Some(ValueId(id)));
            names.remove_value("v", ValueId(id));
        }
        assert_eq!((names.value("v"), names.unused("v").as_str()), (None, "v_1"));
        names.remove_node("v");
        assert_eq!(names.unused("v"), "v");
    }
}
