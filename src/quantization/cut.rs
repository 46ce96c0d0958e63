//! The cheapest way to part a network of costs in two: a minimum cut.

use std::collections::VecDeque;

/// What no cut may cost.
pub const FORBIDDEN: f64 = 1e18;
/// Below this a remaining capacity counts as none.
pub const NOTHING: f64 = 1e-9;

#[derive(Clone, Debug)]
struct Edge {
    to: usize,
    capacity: f64,
}

/// Places joined by directed edges; an edge costs its capacity if it leads from the first side to the second.
#[derive(Clone, Debug)]
pub struct Network {
    edges: Vec<Edge>,
    outgoing: Vec<Vec<usize>>,
}

/// Two sides of a network.
#[derive(Clone, Debug)]
pub struct Cut {
    /// Whether each place is on the first side.
    pub first: Vec<bool>,
    pub cost: f64,
}

/// The place that is always on the first side.
pub const FIRST: usize = 0;
/// The place that is always on the second side.
pub const SECOND: usize = 1;

impl Network {
    pub fn new() -> Self {
        Network { edges: Vec::new(), outgoing: vec![Vec::new(); 2] }
    }

    pub fn add_place(&mut self) -> usize {
        self.outgoing.push(Vec::new());
        self.outgoing.len() - 1
    }

    /// Costs `capacity` if `from` is on the first side and `to` on the second.
    pub fn add_edge(&mut self, from: usize, to: usize, capacity: f64) {
        self.outgoing[from].push(self.edges.len());
        self.edges.push(Edge { to, capacity });
        self.outgoing[to].push(self.edges.len());
        self.edges.push(Edge { to: from, capacity: 0.0 });
    }

    /// A cheapest cut; of several, the one with the largest first side.
    ///
    /// Paper: Edmonds and Karp 1972, shortest augmenting paths.
    pub fn cheapest_cut(mut self) -> Cut {
        let mut cost = 0.0;
        while let Some(path) = self.augmenting_path() {
            let flow = path.iter().map(|edge| self.edges[*edge].capacity).fold(f64::INFINITY, f64::min);
            cost += flow;
            for edge in path {
                self.edges[edge].capacity -= flow;
                self.edges[edge ^ 1].capacity += flow;
            }
        }
        Cut { first: self.reach_second().into_iter().map(|reaches| !reaches).collect(), cost }
    }

    fn augmenting_path(&self) -> Option<Vec<usize>> {
        let mut by: Vec<Option<usize>> = vec![None; self.outgoing.len()];
        let mut waiting = VecDeque::from([FIRST]);
        while let Some(place) = waiting.pop_front() {
            for edge in &self.outgoing[place] {
                let Edge { to, capacity } = self.edges[*edge];
                if capacity > NOTHING && to != FIRST && by[to].is_none() {
                    by[to] = Some(*edge);
                    waiting.push_back(to);
                }
            }
            if by[SECOND].is_some() {
                break;
            }
        }
        let mut path = vec![by[SECOND]?];
        while let Some(edge) = path.last().and_then(|edge| by[self.edges[edge ^ 1].to]) {
            path.push(edge);
        }
        Some(path)
    }

    /// Places from which the second side can still be reached: they must be on it.
    fn reach_second(&self) -> Vec<bool> {
        let mut reaches = vec![false; self.outgoing.len()];
        reaches[SECOND] = true;
        let mut waiting = vec![SECOND];
        while let Some(place) = waiting.pop() {
            for edge in &self.outgoing[place] {
                let before = self.edges[*edge].to;
                if self.edges[edge ^ 1].capacity > NOTHING && !reaches[before] {
                    reaches[before] = true;
                    waiting.push(before);
                }
            }
        }
        reaches
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Random;

    fn cost(edges: &[(usize, usize, f64)], first: &[bool]) -> f64 {
        edges.iter().filter(|(from, to, _)| first[*from] && !first[*to]).map(|(_, _, capacity)| capacity).sum()
    }

    fn cut(places: usize, edges: &[(usize, usize, f64)]) -> Cut {
        let mut network = Network::new();
        (2..places).for_each(|_| assert!(network.add_place() >= 2));
        edges.iter().for_each(|(from, to, capacity)| network.add_edge(*from, *to, *capacity));
        network.cheapest_cut()
    }

    #[test]
    fn a_cut_costs_no_more_than_any_other() {
        let mut random = Random::new(3, 0);
        for _ in 0..40 {
            let places = 7;
            let mut place = || (random.uniform() * places as f32) as usize % places;
            let pairs: Vec<(usize, usize)> = (0..18).map(|_| (place(), place())).filter(|(a, b)| a != b).collect();
            let edges: Vec<_> = pairs.into_iter().map(|(a, b)| (a, b, f64::from((random.uniform() * 9.0).round()))).collect();
            let Cut { first: found, cost: claimed } = cut(places, &edges);
            assert!((cost(&edges, &found) - claimed).abs() < 1e-6);
            assert!(found[FIRST] && !found[SECOND]);
            let all = (0..1usize << (places - 2)).map(|bits| {
                let side: Vec<bool> = (0..places).map(|i| i == FIRST || (i > 1 && bits >> (i - 2) & 1 == 1)).collect();
                cost(&edges, &side)
            });
            assert_eq!(cost(&edges, &found), all.fold(f64::INFINITY, f64::min));
        }
    }

    #[test]
    fn a_tie_goes_to_the_first_side() {
        assert_eq!(cut(3, &[(FIRST, 2, 4.0), (2, SECOND, 4.0)]).first, [true, false, true]);
    }
}
