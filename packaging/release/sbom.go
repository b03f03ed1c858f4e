package main

import (
	"bytes"
	"debug/buildinfo"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"net/url"
	"regexp"
	"strings"
	"time"

	spdxjson "github.com/spdx/tools-golang/json"
	"github.com/spdx/tools-golang/spdx/v2/common"
	spdx "github.com/spdx/tools-golang/spdx/v2/v2_3"
	"github.com/spdx/tools-golang/spdxlib"
)

// noAssertion is what SPDX writes for what nobody has found out.
const noAssertion = "NOASSERTION"

// sbom returns what a program consists of, as an SPDX 2.3 document in JSON. Its facts are those that
// the linker has written into the program.
func sbom(name string, p product, version, binary string, deps []dependency, made time.Time) ([]byte, error) {
	info, err := buildinfo.ReadFile(binary)
	if err != nil {
		return nil, err
	}
	sum, err := sha256File(binary)
	if err != nil {
		return nil, err
	}
	program := &spdx.Package{
		PackageName: info.Main.Path, PackageSPDXIdentifier: common.ElementID(p.name), PackageVersion: version, PackageFileName: p.name,
		PackageDownloadLocation: noAssertion, IsFilesAnalyzedTagPresent: true, PackageLicenseConcluded: noAssertion, PackageLicenseDeclared: "Apache-2.0",
		PackageCopyrightText: noAssertion, PrimaryPackagePurpose: "APPLICATION",
		PackageChecksums:          []common.Checksum{{Algorithm: common.SHA256, Value: sum}},
		PackageExternalReferences: purlReference(info.Main.Path, info.Main.Version),
	}
	doc := &spdx.Document{
		SPDXVersion: spdx.Version, DataLicense: spdx.DataLicense, SPDXIdentifier: "DOCUMENT", DocumentName: name,
		DocumentNamespace: "https://nfsync.dev/spdx/" + url.PathEscape(name) + "-" + sum,
		CreationInfo: &spdx.CreationInfo{Created: made.UTC().Format("2006-01-02T15:04:05Z"),
			Creators: []common.Creator{{CreatorType: "Tool", Creator: "nfsync-release"}}},
		Packages:      []*spdx.Package{program},
		Relationships: []*spdx.Relationship{relationship("DOCUMENT", common.TypeRelationshipDescribe, program)},
	}
	for _, d := range deps {
		module, err := d.spdxPackage()
		if err != nil {
			return nil, err
		}
		doc.Packages = append(doc.Packages, module)
		doc.Relationships = append(doc.Relationships, relationship(program.PackageSPDXIdentifier, common.TypeRelationshipDependsOn, module))
	}
	if err := spdxlib.ValidateDocument(doc); err != nil {
		return nil, err
	}
	var b bytes.Buffer
	if err := spdxjson.Write(doc, &b, spdxjson.Indent("  "), spdxjson.EscapeHTML(false)); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

// relationship returns what an element has to do with a package.
func relationship(of common.ElementID, what string, with *spdx.Package) *spdx.Relationship {
	return &spdx.Relationship{RefA: common.DocElementID{ElementRefID: of}, Relationship: what, RefB: common.DocElementID{ElementRefID: with.PackageSPDXIdentifier}}
}

// notInID matches what an identifier of SPDX may not contain.
var notInID = regexp.MustCompile(`[^A-Za-z0-9.-]+`)

// spdxPackage returns a module as SPDX has it. The sum of go.sum is that of the module's files, and
// not that of its archive: the comment says so.
func (d dependency) spdxPackage() (*spdx.Package, error) {
	p := &spdx.Package{
		PackageName: d.path, PackageSPDXIdentifier: common.ElementID("go-" + notInID.ReplaceAllString(d.path+"-"+d.version, "-")), PackageVersion: d.version,
		PackageDownloadLocation: noAssertion, IsFilesAnalyzedTagPresent: true, PackageLicenseConcluded: noAssertion, PackageLicenseDeclared: d.licence(),
		PackageCopyrightText: noAssertion, PrimaryPackagePurpose: "LIBRARY", PackageExternalReferences: purlReference(d.path, d.version),
	}
	if d.sum == "" {
		return p, nil
	}
	sum, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(d.sum, "h1:"))
	if err != nil {
		return nil, fmt.Errorf("the sum of %s: %w", d.path, err)
	}
	p.PackageChecksums = []common.Checksum{{Algorithm: common.SHA256, Value: hex.EncodeToString(sum)}}
	p.PackageComment = "The checksum is that of go.sum, " + d.sum + ", in hexadecimal digits: it is of the files of the module."
	return p, nil
}

// purlReference returns the URL by which scanners know a module.
func purlReference(path, version string) []*spdx.PackageExternalReference {
	return []*spdx.PackageExternalReference{{Category: common.CategoryPackageManager, RefType: common.TypePackageManagerPURL, Locator: purl(path, version)}}
}

// purl returns the package URL of a module. Its type golang is in lower case.
func purl(path, version string) string {
	return "pkg:golang/" + strings.ToLower(path) + "@" + strings.ReplaceAll(version, "+", "%2B")
}
