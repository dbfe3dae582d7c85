//! CBOR by hand: any item, in any spelling, and the places where one can be altered.

/// An item to write.
#[derive(Clone)]
pub(crate) enum Item {
    Uint(u64),
    Bytes(Vec<u8>),
    Text(String),
    Array(Vec<Item>),
    Bool(bool),
    Null,
    /// Written as it is.
    Raw(Vec<u8>),
}

pub(crate) use Item::{Array, Bool, Null, Raw, Uint};

pub(crate) fn bytes(value: impl AsRef<[u8]>) -> Item {
    Item::Bytes(value.as_ref().to_vec())
}

pub(crate) fn text(value: &str) -> Item {
    Item::Text(value.into())
}

impl Item {
    /// The canonical bytes.
    pub(crate) fn encode(&self) -> Vec<u8> {
        match self {
            Self::Uint(value) => head(0, *value),
            Self::Bytes(value) => [head(2, value.len() as u64), value.clone()].concat(),
            Self::Text(value) => [head(3, value.len() as u64), value.as_bytes().to_vec()].concat(),
            Self::Array(items) => {
                let items: Vec<u8> = items.iter().flat_map(Self::encode).collect();
                [head(4, self.count()), items].concat()
            }
            Self::Bool(value) => vec![0xf4 + u8::from(*value)],
            Self::Null => vec![0xf6],
            Self::Raw(value) => value.clone(),
        }
    }

    fn count(&self) -> u64 {
        if let Self::Array(items) = self { items.len() as u64 } else { 0 }
    }

    /// The same with one element of an array replaced.
    pub(crate) fn with(&self, at: usize, item: Self) -> Self {
        let Self::Array(items) = self else { panic!("not an array") };
        let mut items = items.clone();
        items[at] = item;
        Self::Array(items)
    }

    /// The element at a place of an array.
    pub(crate) fn at(&self, at: usize) -> &Self {
        let Self::Array(items) = self else { panic!("not an array") };
        &items[at]
    }
}

/// A head in its shortest form.
pub(crate) fn head(major: u8, value: u64) -> Vec<u8> {
    match value {
        0..24 => vec![major << 5 | value as u8],
        24..0x100 => long_head(major, value, 1),
        0x100..0x1_0000 => long_head(major, value, 2),
        0x1_0000..0x1_0000_0000 => long_head(major, value, 4),
        _ => long_head(major, value, 8),
    }
}

/// A head with its value in `width` bytes: 1, 2, 4 or 8.
pub(crate) fn long_head(major: u8, value: u64, width: usize) -> Vec<u8> {
    let first = major << 5 | (24 + width.ilog2() as u8);
    [&[first], &value.to_be_bytes()[8 - width..]].concat()
}

/// One item of canonical bytes.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    pub(crate) at: usize,
    pub(crate) head_len: usize,
    pub(crate) end: usize,
    pub(crate) major: u8,
    pub(crate) value: u64,
    /// Places of its elements, and of theirs.
    pub(crate) path: Vec<usize>,
}

/// All items of canonical bytes, outermost first.
pub(crate) fn places(bytes: &[u8]) -> Vec<Place> {
    let mut found = Vec::new();
    let end = walk(bytes, 0, &[], &mut found);
    assert_eq!(end, bytes.len());
    found
}

fn walk(bytes: &[u8], at: usize, path: &[usize], found: &mut Vec<Place>) -> usize {
    let (major, short) = (bytes[at] >> 5, bytes[at] & 0x1f);
    let width = if short < 24 { 0 } else { 1 << (short - 24) };
    let value = bytes[at + 1..at + 1 + width].iter().fold(0, |value, byte| value << 8 | u64::from(*byte));
    let value = if width == 0 { u64::from(short) } else { value };
    let mine = found.len();
    found.push(Place { at, head_len: 1 + width, end: 0, major, value, path: path.to_vec() });
    let mut end = at + 1 + width;
    match major {
        2 | 3 => end += value as usize,
        4 => {
            for child in 0..value as usize {
                end = walk(bytes, end, &[path, &[child]].concat(), found);
            }
        }
        _ => {}
    }
    found[mine].end = end;
    end
}
