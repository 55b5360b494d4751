"""Words beside their codes: what there are two of, or one; what a code does not mean; what is abnormal or put in."""

from __future__ import annotations

import re

NOT_MEANT = {  # members of the context groups that a prompt does not mean, by code
    "17621005": "Normal",
    "125040": "Background",
    "118378005": "a second Cardiac Pacemaker",
    "42694008": "All legs, of an animal",
    "53036007": "Wing, of a bird; not of the sphenoid or the ilium",
    "224727009": "Wall, of a building; not of an organ",
    "709280007": "Floor, of a building",
    "27065002": "Suture, a thread; not of the skull",
    "38586004": "Laser, the force",
    "48387007": "Tracheotomy, the procedure",
    "61695000": "Media, of an artery; not of contrast",
    "280556009": "Lymph node of the cystic duct; not one with a cyst",
    "94391008": "Pulmonary metastasis, which CID 8134 has among the structures",
    "409615008": "Ascitic fluid, likewise; a substance: codes.csv",
    "371863001": "Perfusion",
    "107671003": "vascular sclerosis",
    "112082": "Interface",
    "112083": "Line",
    "112084": "Lucency",
    "112094": "Stripe",
    "112158": "Lobar",
}
_PAIRED = (  # what two are meant by, where several are named without a side
    "lung, kidney, adrenal gland, femur, tibia, fibula, humerus, radius, ulna, clavicle, scapula, patella,"
    "femoral head, breast, ovary, testis, eye, ear, optic nerve, parotid gland, submandibular gland, ureter,"
    "common iliac artery, common carotid artery, hippocampus, thalamus, lateral ventricle, iliopsoas muscle,"
    "gluteus maximus muscle, gluteus medius muscle, gluteus minimus muscle, eyeball, lens, orbital structure, hip,"
    "knee, hip joint, sacroiliac joint, ilium, renal pelvis, seminal vesicle, cerebral hemisphere, amygdala, cochlea,"
    "caudate nucleus, upper lobe of lung, lower lobe of lung, internal carotid artery, internal jugular vein,"
    "vertebral artery, brachiocephalic vein, innominate vein, subclavian artery, masseter muscle"
)
PAIRED = frozenset(name.strip() for name in _PAIRED.split(","))
AMOUNTS = frozenset({  # "muscle mass", "left ventricular mass": how much of it there is, not a tumour
    "muscle", "skeletal muscle", "fat", "subcutaneous fatty tissue", "bone", "myocardium", "left ventricle",
    "right ventricle", "entire body",
})  # fmt: skip
IN_BODY = frozenset({  # of CID 7193, which has tables and walls too: what may be within a structure
    "implant", "prosthesis", "stent", "clip", "staple", "catheter", "needle", "bullet", "foreign body",
})  # fmt: skip
_ONE = (  # what has a left and a right part, and no second one: "left liver" is not a liver
    "liver, spleen, pancreas, gallbladder, stomach, duodenum, small intestine, large intestine, colon, rectum,"
    "appendix, esophagus, trachea, larynx, pharynx, tongue, bladder, urethra, prostate, uterus, cervix, vagina,"
    "penis, heart, myocardium, pericardium, aorta, ascending aorta, aortic arch, thoracic aorta, abdominal aorta,"
    "portal vein, inferior vena cava, superior vena cava, brain, brain stem, cerebellum, spinal cord, spine,"
    "vertebra, sacrum, coccyx, sternum, skull, mandible, thyroid, thymus, mediastinum, diaphragm, head, neck,"
    "face, nose, mouth, chest, thorax, abdomen, pelvis, trunk, entire body, corpus callosum, pituitary, omentum,"
    "cervical spine, thoracic spine, lumbar spine, vertebral canal, pons, midbrain, third ventricle, fourth ventricle,"
    "optic chiasm, carina, hyoid bone, thyroid cartilage, cricoid cartilage, descending aorta, aortic root,"
    "aortic valve, mitral valve, tricuspid valve, pulmonary valve, pulmonary trunk, truncus coeliacus,"
    "superior mesenteric artery, superior mesenteric vein, inferior mesenteric artery, splenic artery, splenic vein,"
    "azygos vein, basilar artery, common bile duct, pancreatic duct, head of pancreas, tail of pancreas,"
    "jejunum, ileum, cecum, intestine, ascending colon, transverse colon, descending colon, sigmoid colon, anus,"
    "bulb of penis, endometrium, retroperitoneum, peritoneum, manubrium of sternum"
)
UNPAIRED = frozenset(name.strip() for name in _ONE.split(","))
# Of private codes: words that tell something abnormal, or something that was put in.
ABNORMAL_WORD = re.compile(
    r"\b(fractured?|infarct|infarction|ischemia|stroke|stone|calculus|gallstone|calcification|plaque|ascites|fluid"
    r"|aneurysm|stenosis|dissection|occlusion|obstruction|consolidation|opacity|atelectasis|emphysema|pneumonia"
    r"|fibrosis|polyp|hernia|herniation|ulcer|collection|enlarged|dilated|abnormal|pathological|malignant|malignancy"
    r"|metastatic|suspicious|hyperintensity|honeycombing|laceration|contusion|pseudocyst|thickening|fistula|leak"
    r"|hemothorax|pneumoperitoneum|bulla|rupture|atrophy|hyperplasia|dilatation|diverticulum|volvulus|hydroureter"
    r"|endoleak|hcc|rcc|pdac|ipmn|gtv|(?!otolith\b)\w+(cele|lith)|free (air|gas)"
    r"|(?!(stroma|stoma|coma|soma|zygoma)\b)\w+oma|\w+(megaly|itis|ectasis|ectasia)"
    r"|(?!aponeurosis\b|anastomosis\b)\w+osis"
    # and in the languages of Europe: tumeur, Läsion, metástasis, Lebermetastasen, Nierenzyste, quiste, frattura …
    r"|\w*(tumeur|tumor|l[äéeè]si[oó]n|m[eé]t[aá]st|[kc]ar[zc]inom|zyste|kyste|quiste|nodul|nódulo|fra[kt]tur|absze|absces)"
    r"\w*)\b"
)
# What comes after, or belongs to, a word that takes it away or puts it beside: "liver without tumor", "tumor free"; and
# a mass that is how much there is.
ASIDE = re.compile(
    r"\b(without|excluding|except|minus|with|including|and|around|near|adjacent|behind|beside|between)\b.*"
    r"|\b\w+ free\b|\b(no|not|non)\b \w+"
    r"|(?:(?<=muscle)|(?<=fat)|(?<=bone)|(?<=body)|(?<=lean)|(?<=ventricle)|(?<=ventricular)|(?<=myocardial)) mass\b"
)
OBJECT_WORD = re.compile(
    r"\b(prosthesis|endoprosthesis|arthroplasty|implant|pacemaker|stent|catheter|screw|wire|drain|clip|electrode|lead"
    r"|filling|filter|coil|iud|picc|needle|foreign body|hardware|(?:joint|hip|knee|valve) replacement"
    r"|(?:metal|fixation) plate|(?:femoral|intramedullary) nail|(?:vp|ventriculoperitoneal) shunt"
    r"|(?:gastric|nasogastric|endotracheal|tracheal|tracheostomy|gastrostomy|feeding|chest|drainage) tube)\b"
)
