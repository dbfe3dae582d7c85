use super::Registry;

#[test]
fn entries_become_documented_constants_in_the_order_of_the_file() {
    let text = r#"
        [limit.window]
        value = 65536
        unit = "frames"
        reason = "as large as the bitmap"
        [limit.peers_max]
        value = 8
        unit = "peers"
        type = "u32"
        reason = "few"
        [label.root]
        value = "nuncio/1 \"root\""
        reason = "the root step"
    "#;
    let expected = r#"
/// Walls that a peer can reach.
pub mod limit {
    /// as large as the bitmap
    ///
    /// Unit: frames.
    pub const WINDOW: usize = 65_536;

    /// few
    ///
    /// Unit: peers.
    pub const PEERS_MAX: u32 = 8;
}

/// Domain separation: no label begins another.
pub mod label {
    /// the root step
    pub const ROOT: &[u8] = b"nuncio/1 \"root\"";
}
"#;
    let rust = Registry::parse(text).unwrap().to_rust();
    assert!(rust.ends_with(expected), "{rust}");
    assert!(rust.contains("`cargo xtask contracts`"), "the header names the command");
}

#[test]
fn an_entry_without_reason_is_refused() {
    refused("[time.idle]\nvalue = 1", "missing field `reason`");
    refused("[kind.idle]\nvalue = 1\nreason = ' '", "the reason is empty");
}

#[test]
fn a_unit_stands_where_there_is_a_dimension_and_nowhere_else() {
    refused("[limit.window]\nvalue = 1\nreason = 'r'", "`unit` is missing");
    refused("[limit.window]\nvalue = 1\nunit = ''\nreason = 'r'", "`unit` is missing");
    refused("[time.idle]\nvalue = 1\nunit = 's'\nreason = 'r'", "`unit` must be \"ms\"");
    refused("[code.window]\nvalue = 1\nunit = 'x'\nreason = 'r'", "have no `unit`");
}

#[test]
fn labels_that_begin_each_other_are_refused() {
    let pair = |one: &str, other: &str| {
        format!("[label.one]\nvalue = '{one}'\nreason = 'r'\n[label.other]\nvalue = '{other}'\nreason = 'r'\n")
    };
    refused(&pair("n root", "n root"), "one and other clash");
    refused(&pair("n root", "n root key"), "one and other clash");
    refused(&pair("n root key", "n root"), "one and other clash");
    Registry::parse(&pair("n root", "n rook")).unwrap();
}

#[test]
fn numbers_clash_within_a_section_and_not_across() {
    for section in ["kind", "code", "extension", "event", "stream"] {
        let twice = format!("[{section}.a]\nvalue = 1\nreason = 'r'\n[{section}.b]\nvalue = 1\nreason = 'r'\n");
        refused(&twice, "a and b clash");
    }
    Registry::parse("[kind.a]\nvalue = 1\nreason = 'r'\n[code.b]\nvalue = 1\nreason = 'r'").unwrap();
}

#[test]
fn a_value_that_does_not_fit_its_type_is_refused() {
    refused("[kind.a]\nvalue = 256\nreason = 'r'", "256 is not a u8");
    refused("[kind.a]\nvalue = -1\nreason = 'r'", "-1 is not a u8");
    refused("[kind.a]\nvalue = 'one'\nreason = 'r'", "expected u8, found string");
    refused("[label.a]\nvalue = 1\nreason = 'r'", "expected &[u8], found integer");
    refused("[label.a]\nvalue = \"tab\\t\"\nreason = 'r'", "not printable ASCII");
}

#[test]
fn unknown_sections_fields_and_types_are_refused() {
    refused("[colour.a]\nvalue = 1\nreason = 'r'", "section [colour] is unknown");
    refused("[kind.a]\nvalue = 1\nreason = 'r'\nnote = 'n'", "unknown field `note`");
    refused("[kind.a]\nvalue = 1\ntype = 'i8'\nreason = 'r'", "\"i8\" is not one of");
    refused("[kind.Loud]\nvalue = 1\nreason = 'r'", "not snake_case");
}

fn refused(text: &str, why: &str) {
    let error = Registry::parse(text).map(|_| ()).unwrap_err();
    assert!(format!("{error:#}").contains(why), "{error:#}");
}
