//! What files may ask for before they are refused.

/// Sizes beyond which a file is refused; each can be set by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Size of the model file.
    pub file_bytes: u64,
    /// Size of all tensors in other files together.
    pub external_bytes: u64,
    pub nodes: u64,
    /// Nodes, tensors, described values and attributes together: what is decoded takes more memory than its bytes.
    pub messages: u64,
    /// Elements of one tensor.
    pub tensor_elements: u64,
    /// Length of a name of a node, a value or an operator.
    pub name_bytes: u64,
    /// Calibration data, unpacked.
    pub data_bytes: u64,
    /// Pixels of one picture.
    pub picture_pixels: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            file_bytes: 2 << 30,
            external_bytes: 64 << 30,
            nodes: 1_000_000,
            messages: 2_000_000,
            tensor_elements: 1 << 31,
            name_bytes: 64 << 10,
            data_bytes: 4 << 30,
            picture_pixels: 100_000_000,
        }
    }
}

/// One of the [`Limits`].
pub struct Limit {
    pub name: &'static str,
    pub about: &'static str,
    get: fn(&mut Limits) -> &mut u64,
}

/// Every limit by name.
pub const ALL: [Limit; 8] = [
    Limit { name: "file-bytes", about: "size of a model file", get: |limits| &mut limits.file_bytes },
    Limit { name: "external-bytes", about: "size of a model's tensors in other files", get: |limits| &mut limits.external_bytes },
    Limit { name: "nodes", about: "nodes of a graph", get: |limits| &mut limits.nodes },
    Limit { name: "messages", about: "nodes, tensors, values and attributes of a file together", get: |limits| &mut limits.messages },
    Limit { name: "tensor-elements", about: "elements of a tensor in a file", get: |limits| &mut limits.tensor_elements },
    Limit { name: "name-bytes", about: "length of a name", get: |limits| &mut limits.name_bytes },
    Limit { name: "data-bytes", about: "size of calibration data, unpacked", get: |limits| &mut limits.data_bytes },
    Limit { name: "picture-pixels", about: "pixels of a picture", get: |limits| &mut limits.picture_pixels },
];

const UNITS: [(&str, u64); 8] = [
    ("Ti", 1 << 40),
    ("Gi", 1 << 30),
    ("Mi", 1 << 20),
    ("Ki", 1 << 10),
    ("T", 1_000_000_000_000),
    ("G", 1_000_000_000),
    ("M", 1_000_000),
    ("K", 1000),
];

impl Limits {
    /// # Errors
    /// If there is no limit of that name; the message lists those that there are.
    pub fn set(&mut self, name: &str, value: u64) -> Result<(), String> {
        let limit = ALL.iter().find(|limit| limit.name == name).ok_or_else(|| {
            let names: Vec<&str> = ALL.iter().map(|limit| limit.name).collect();
            format!("there is no limit `{name}`, only {}", names.join(", "))
        })?;
        *(limit.get)(self) = value;
        Ok(())
    }
}

/// What to say of something that is beyond the limit `name`.
pub fn beyond(name: &str, limit: u64) -> String {
    format!("more than the limit of {limit} (--limit {name}=N sets another)")
}

/// A whole number, with a unit behind it: `2G` is 2·10⁹, `2Gi` is 2³¹.
///
/// # Errors
/// If it is none.
pub fn parse_amount(text: &str) -> Result<u64, String> {
    let (digits, unit) = UNITS.iter().find_map(|(unit, size)| Some((text.strip_suffix(unit)?, *size))).unwrap_or((text, 1));
    let amount = digits.parse::<u64>().ok().and_then(|number| number.checked_mul(unit));
    amount.ok_or_else(|| format!("`{text}` is no whole number with K, M, G, T, Ki, Mi, Gi or Ti behind it"))
}

fn write_amount(amount: u64) -> String {
    let unit = UNITS.iter().find(|(_, size)| amount >= *size && amount.is_multiple_of(*size));
    unit.map_or(amount.to_string(), |(unit, size)| format!("{}{unit}", amount / size))
}

/// Every limit with its default, for the help.
pub fn listing() -> String {
    let mut defaults = Limits::default();
    let lines = ALL.iter().map(|limit| format!("\n  {:<16} {} [{}]", limit.name, limit.about, write_amount(*(limit.get)(&mut defaults))));
    lines.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_limit_has_a_name_of_its_own_and_a_default() {
        for limit in &ALL {
            assert!(limit.name.chars().all(|c| c.is_ascii_lowercase() || c == '-'));
            let mut limits = Limits::default();
            limits.set(limit.name, 3).unwrap();
            let changed = ALL.iter().filter(|other| *(other.get)(&mut limits) != *(other.get)(&mut Limits::default())).count();
            assert_eq!((changed, *(limit.get)(&mut limits)), (1, 3), "{}", limit.name);
        }
        assert!(listing().contains("file-bytes") && listing().contains("[2Gi]") && listing().contains("[100M]"));
        assert!(Limits::default().set("colour", 1).unwrap_err().contains("picture-pixels"));
    }

    #[test]
    fn amounts_may_have_units() {
        for (text, amount) in [("0", 0), ("12", 12), ("2K", 2000), ("64Ki", 65_536), ("2Gi", 1 << 31), ("3T", 3_000_000_000_000)] {
            assert_eq!(parse_amount(text), Ok(amount));
            assert_eq!(parse_amount(&write_amount(amount)), Ok(amount));
        }
        for text in ["", "G", "-1", "1.5G", "1e3", "99999999999G", "2g", "2 G"] {
            assert!(parse_amount(text).is_err(), "{text}");
        }
    }
}
