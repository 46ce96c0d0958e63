//! Parts of a network that one value alone connects.

use std::collections::{HashMap, HashSet};

use crate::emit::Student;
use crate::graph::{Graph, NodeId, ValueId};
use crate::tensor::DataType;

/// What is tuned together, and where it is judged.
#[derive(Clone, Debug)]
pub struct Block {
    pub student: Student,
    /// The value that everything later depends on; `None` for the last block, which is judged by the outputs.
    pub end: Option<ValueId>,
}

/// Matrix products that a block holds at least: single layers of a chain are tuned in pairs.
const LEAST: usize = 2;

/// Cuts `teacher` wherever one value dominates all that comes after it, with [`LEAST`] products between, and shares out
/// what `student` tunes: weights and biases go with their product, the scale of an activation with its first reader.
pub fn find_blocks(teacher: &Graph, student: &Student) -> Vec<Block> {
    let consumers = teacher.consumers();
    let weighted: HashSet<NodeId> = student.weights.iter().map(|weight| weight.node).collect();
    let (ends, block_of) = cut(teacher, &consumers, &weighted);
    let mut blocks: Vec<Block> = ends.into_iter().map(|end| Block { student: Student::default(), end }).collect();
    let place = |id: NodeId| block_of.get(&id).copied().unwrap_or(0);
    for weight in &student.weights {
        blocks[place(weight.node)].student.weights.push(weight.clone());
    }
    for bias in &student.biases {
        blocks[place(bias.node)].student.biases.push(bias.clone());
    }
    for activation in &student.activations {
        let readers = consumers.get(activation.original.0 as usize).into_iter().flatten();
        let block = readers.map(|(id, _)| place(*id)).min().unwrap_or(blocks.len() - 1);
        let tuned = &mut blocks[block].student.activations;
        tuned.push(activation.clone());
    }
    blocks.retain(|block| !block.student.weights.is_empty());
    blocks
}

/// The ends of the blocks, and which block each node is in.
fn cut(graph: &Graph, consumers: &[Vec<(NodeId, usize)>], weighted: &HashSet<NodeId>) -> (Vec<Option<ValueId>>, HashMap<NodeId, usize>) {
    let float = |value: &ValueId| graph.value(*value).data_type == Some(DataType::F32);
    let mut unread: HashMap<ValueId, usize> = HashMap::new();
    let open = |unread: &mut HashMap<ValueId, usize>, value: ValueId| {
        let readers = consumers[value.0 as usize].len();
        if readers > 0 && float(&value) {
            unread.insert(value, readers);
        }
    };
    graph.inputs.iter().for_each(|value| open(&mut unread, *value));
    let (mut ends, mut block_of) = (Vec::new(), HashMap::new());
    let (mut products, mut to_come) = (0, weighted.len());
    for (id, node) in graph.nodes() {
        block_of.insert(id, ends.len());
        (products, to_come) = if weighted.contains(&id) { (products + 1, to_come - 1) } else { (products, to_come) };
        for input in node.inputs.iter().flatten() {
            if let Some(readers) = unread.get_mut(input) {
                *readers -= 1;
            }
        }
        unread.retain(|_, readers| *readers > 0);
        node.outputs.iter().flatten().for_each(|value| open(&mut unread, *value));
        if products >= LEAST && to_come > 0 && unread.len() == 1 {
            ends.push(unread.keys().next().copied());
            products = 0;
        }
    }
    ends.push(None);
    (ends, block_of)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::calibration::{calibrate, observers};
    use crate::emit::insert;
    use crate::execution;
    use crate::graph::sketch::{Sketch, noise};
    use crate::progress::Silent;
    use crate::quantization::{plan, targets};

    #[test]
    fn blocks_end_where_one_value_is_left_and_share_out_all_that_is_tuned() {
        let sketch = Sketch::new(&[0, 3, 8, 8]).conv("a", "x", (3, 4), 3, 1).conv("b", "a", (4, 4), 3, 1).plain("r", "Relu", "b");
        let sketch = sketch.conv("c", "r", (4, 4), 3, 1).conv("d", "c", (4, 4), 3, 1).plain("s", "Add", "d r").plain("t", "Relu", "s");
        let teacher = sketch.conv("e", "t", (4, 2), 1, 1).outputs("e");
        let plan = plan(&teacher, &targets::find("ort-cpu").unwrap(), &[]).unwrap();
        let observer = observers::find("min-max").unwrap();
        let config = execution::Config::default();
        let ranges = calibrate(&teacher, &plan, &noise(&teacher, 4), observer.as_ref(), &config, &Silent).unwrap();
        let mut graph = teacher.clone();
        let student = insert(&mut graph, &plan, &ranges).unwrap();
        let blocks = find_blocks(&teacher, &student);
        let name = |value: ValueId| teacher.value(value).name.clone();
        let found: Vec<(Option<String>, Vec<String>)> = blocks
            .iter()
            .map(|block| (block.end.map(name), block.student.weights.iter().map(|weight| name(weight.value)).collect()))
            .collect();
        let expected = [(Some("b"), vec!["a_w", "b_w"]), (Some("s"), vec!["c_w", "d_w"]), (None, vec!["e_w"])];
        assert_eq!(found, expected.map(|(end, weights)| (end.map(String::from), weights.into_iter().map(String::from).collect())));
        assert_eq!(blocks.iter().map(|block| block.student.activations.len()).sum::<usize>(), student.activations.len());
    }
}
