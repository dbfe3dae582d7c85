//! The registry's sections: what each may hold and what must differ within it.

use anyhow::{Result, bail, ensure};

use super::{Entry, Value};

/// One `[section.*]` of the registry, one module of the generated constants.
pub(super) struct Section {
    pub(super) name: &'static str,
    /// The generated module's documentation.
    pub(super) doc: &'static str,
    pub(super) default_type: RustType,
    pub(super) unit: Unit,
    distinct: Distinct,
    /// Programs are told its entries by name.
    pub(super) named: bool,
}

/// What an entry's `unit` must be.
#[derive(Clone, Copy)]
pub(super) enum Unit {
    /// Names and numbers without a dimension.
    None,
    /// Each entry names its own.
    Named,
    /// Always this one.
    Always(&'static str),
}

impl Unit {
    /// Fails unless `written` is what this section asks for.
    pub(super) fn check(self, written: Option<&str>) -> Result<()> {
        match (self, written) {
            (Self::None, None) => Ok(()),
            (Self::None, Some(_)) => bail!("entries of this section have no `unit`"),
            (Self::Named, Some(unit)) if !unit.trim().is_empty() => Ok(()),
            (Self::Named, _) => bail!("`unit` is missing"),
            (Self::Always(unit), Some(written)) if written == unit => Ok(()),
            (Self::Always(unit), _) => bail!("`unit` must be {unit:?}"),
        }
    }
}

/// Which values of a section would clash.
enum Distinct {
    /// Equal values are fine: two limits may happen to agree.
    No,
    /// Wire numbers: two names for one number are two meanings of one byte.
    Values,
    /// Domain separation: a label that begins another would let one transcript be read as the other's.
    NoPrefix,
}

/// Every section, in the order of the generated file. A new section is a line here.
pub(super) const ALL: &[Section] = &[
    Section::new("limit", "Walls that a peer can reach.", RustType::Usize, Distinct::No).in_units(Unit::Named),
    Section::new("time", "Durations.", RustType::U64, Distinct::No).in_units(Unit::Always("ms")),
    Section::new("label", "Domain separation: no label begins another.", RustType::Bytes, Distinct::NoPrefix),
    Section::new("text", "Fixed strings that peers compare.", RustType::Str, Distinct::Values),
    Section::new("kind", "Kinds, as they stand on the wire.", RustType::U8, Distinct::Values),
    Section::new("code", "Refusal and close codes.", RustType::U16, Distinct::Values).with_names(),
    Section::new("extension", "Letter extensions.", RustType::U16, Distinct::Values),
    Section::new("event", "What an event of the audit log tells of.", RustType::U8, Distinct::Values).with_names(),
    Section::new("change", "What an entry of a channel's record changes.", RustType::U8, Distinct::Values),
    Section::new("word", "What members tell each other of a channel.", RustType::U8, Distinct::Values),
    Section::new("stream", "The first byte of each kind of stream.", RustType::U8, Distinct::Values),
];

impl Section {
    const fn new(name: &'static str, doc: &'static str, default_type: RustType, distinct: Distinct) -> Self {
        Self { name, doc, default_type, unit: Unit::None, distinct, named: false }
    }

    const fn with_names(self) -> Self {
        Self { named: true, ..self }
    }

    const fn in_units(mut self, unit: Unit) -> Self {
        self.unit = unit;
        self
    }

    /// Fails when two entries of this section clash.
    pub(super) fn check_distinct(&self, entries: &[Entry]) -> Result<()> {
        for (position, one) in entries.iter().enumerate() {
            for other in entries.iter().skip(position + 1) {
                ensure!(!self.clash(&one.value, &other.value), "{} and {} clash: {self}", one.name, other.name);
            }
        }
        Ok(())
    }

    fn clash(&self, one: &Value, other: &Value) -> bool {
        match (&self.distinct, one, other) {
            (Distinct::No, _, _) => false,
            (Distinct::NoPrefix, Value::Text(one), Value::Text(other)) => {
                one.starts_with(other) || other.starts_with(one)
            }
            (Distinct::NoPrefix | Distinct::Values, _, _) => one == other,
        }
    }
}

impl std::fmt::Display for Section {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self.distinct {
            Distinct::No => "values may agree",
            Distinct::Values => "values must differ",
            Distinct::NoPrefix => "no value may begin another",
        })
    }
}

/// The Rust type of a generated constant.
#[derive(Clone, Copy)]
pub(super) enum RustType {
    U8,
    U16,
    U32,
    U64,
    Usize,
    Bytes,
    Str,
}

impl RustType {
    pub(super) fn parse(written: &str) -> Result<Self> {
        Ok(match written {
            "u8" => Self::U8,
            "u16" => Self::U16,
            "u32" => Self::U32,
            "u64" => Self::U64,
            "usize" => Self::Usize,
            "&[u8]" => Self::Bytes,
            "&str" => Self::Str,
            _ => bail!("type {written:?} is not one of u8, u16, u32, u64, usize, &[u8], &str"),
        })
    }

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::U8 => "u8",
            Self::U16 => "u16",
            Self::U32 => "u32",
            Self::U64 => "u64",
            Self::Usize => "usize",
            Self::Bytes => "&[u8]",
            Self::Str => "&str",
        }
    }

    /// The value, when it is one of this type.
    pub(super) fn value(self, raw: toml::Value) -> Result<Value> {
        match (self.max(), raw) {
            (None, toml::Value::String(text)) => {
                ensure!(!text.is_empty(), "the string is empty");
                ensure!(text.chars().all(|c| c == ' ' || c.is_ascii_graphic()), "{text:?} is not printable ASCII");
                Ok(Value::Text(text))
            }
            (Some(max), toml::Value::Integer(number)) => match u64::try_from(number) {
                Ok(number) if number <= max => Ok(Value::Number(number)),
                _ => bail!("{number} is not a {}", self.name()),
            },
            (_, other) => bail!("expected {}, found {}", self.name(), other.type_str()),
        }
    }

    /// The largest number of this type; none for strings. `usize` is held to 32 bits, the smallest machine that we compile for.
    fn max(self) -> Option<u64> {
        match self {
            Self::U8 => Some(u64::from(u8::MAX)),
            Self::U16 => Some(u64::from(u16::MAX)),
            Self::U32 | Self::Usize => Some(u64::from(u32::MAX)),
            Self::U64 => Some(u64::MAX),
            Self::Bytes | Self::Str => None,
        }
    }
}
